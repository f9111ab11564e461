"""A Forward peer that reads and acknowledges, and prints its port. Ends when it is killed."""

import socket
import threading

import msgpack


def serve(connection: socket.socket) -> None:
    unpacker = msgpack.Unpacker(max_buffer_size=2**28)
    while data := connection.recv(1 << 20):
        unpacker.feed(data)
        for message in unpacker:
            if isinstance(message[2], dict) and "chunk" in message[2]:
                connection.sendall(msgpack.packb({"ack": message[2]["chunk"]}))


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
