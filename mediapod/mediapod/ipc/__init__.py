"""How the processes of a pod find and talk to each other: Unix sockets and shared memory that leave nothing behind."""
