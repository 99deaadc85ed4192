//! io_uring sockets: accept, placed receive, vectored send.
