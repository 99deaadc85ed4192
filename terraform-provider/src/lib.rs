//! The Terraform provider of Ironbay.
