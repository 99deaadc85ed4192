//! PID 1, the DHCP client and the serial console of a node.
