//! The program that Terraform starts.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("terraform-provider-ironbay {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    tf_framework::plugin::serve(provider_ironbay::provider())
}
