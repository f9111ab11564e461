"""Where events wait on disk until they are acknowledged.

    SPOOL_DIR/
      WRITER/                one writer: a process's AuditLog
        owner.lock           flock(2) held while that process lives; never judged by pid
        00000001.seg ...     frames, appended
        acknowledged         how far the shipper has acknowledged

`frames` is the format, `writer` appends, `backlog` reads and acknowledges, `folder` owns and adopts, `archive`
reads all that is held without owning anything.
"""
