//! Subsystems, controllers, namespaces, discovery: fabrics, admin and NVM commands, without IO.
