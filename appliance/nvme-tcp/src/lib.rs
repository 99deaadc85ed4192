//! NVMe/TCP PDU codec and connection state machines, controller side and host side, without sockets.
