"""Bytes that all connections together may hold for one purpose."""

import asyncio
from collections import deque


class Budget:
    """First come, first served. A connection takes all that its message can need before it reads on, so that each
    holder can finish and none waits for another that waits for it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    @property
    def contended(self) -> bool:
        """Whether someone waits."""
        return any(not turn.done() for _, turn in self._waiting)

    def take_now(self, amount: int) -> bool:
        """Take so many bytes if they are free; whether they were."""
        if self._waiting or self._used + amount > self._size:
            return False
        self._used += amount
        return True

    async def take(self, amount: int) -> int:
        """Wait until so many bytes are free, and take them. More than there are counts as all of them."""
        amount = min(amount, self._size)
        if not self._waiting and self._used + amount <= self._size:
            self._used += amount
            return amount
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(amount)
            raise
        return amount

    def give(self, amount: int) -> None:
        """Return what was taken."""
        self._used -= amount
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done():
                if self._used + wanted > self._size:
                    return
                self._used += wanted
                turn.set_result(None)
            self._waiting.popleft()
