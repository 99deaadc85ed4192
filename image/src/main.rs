//! Command line of the image builder.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use image::binaries::{self, Binaries, NodePrograms};
use image::{debian, kit, lock, progress};
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds bootable forms of the Ironbay appliance.
#[derive(Parser)]
#[command(name = "image", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the PXE kit: kernel, initramfs, iPXE script.
    Pxe(Pxe),
    /// Build our programs as static executables and print where they are.
    Binaries {
        /// Only the path of this one: init, ironbayd, ironbay, provider.
        #[arg(long, value_name = "NAME")]
        print: Option<String>,
    },
    /// Lock the newest packaged kernel: writes image/debian.lock.
    Lock,
}

#[derive(clap::Args)]
struct Pxe {
    /// Directory for the kit; created if needed.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// PID 1: a static program, instead of building crate `initrd`.
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// The daemon: a static program, instead of building crate `ironbayd`.
    #[arg(long, value_name = "PATH")]
    ironbayd: Option<PathBuf>,
    /// Kernel argument to add to the boot script, for example ironbay.insecure=1; may be repeated.
    #[arg(long, value_name = "ARGUMENT")]
    append: Vec<String>,
    /// Fail if the locked kernel cannot be had, instead of taking the one that the mirror offers.
    #[arg(long)]
    locked: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let lock_path = debian::workspace().join("image/debian.lock");
    match Arguments::parse().command {
        Command::Pxe(pxe) => {
            let cache = debian::cache_dir()?;
            let programs = node_programs(pxe.init, pxe.ironbayd)?;
            let step = progress::Step::start("kernel package");
            let fetched = lock::fetch_kernel(&lock_path, &cache, pxe.locked)?;
            step.done(format!("{} {}", fetched.package.package, fetched.package.version));
            let kernel = kit::unpack_kernel(&fetched)?;
            let manifest = kit::build(&pxe.out, &fetched, &kernel, &programs, &pxe.append)?;
            report(&manifest, &pxe.out);
        }
        Command::Binaries { print } => {
            let Binaries { init, ironbayd, ironbay, provider } = binaries::build()?;
            let all = [("init", init), ("ironbayd", ironbayd), ("ironbay", ironbay), ("provider", provider)];
            let wanted = |name: &str| print.as_ref().is_none_or(|p| p == name);
            let found: Vec<_> = all.iter().filter(|(name, _)| wanted(name)).collect();
            ensure!(!found.is_empty(), "--print takes init, ironbayd, ironbay or provider");
            for (_, path) in found {
                println!("{}", path.display());
            }
        }
        Command::Lock => {
            let offered = debian::kernel(lock::SERIES)?;
            std::fs::write(&lock_path, lock::format(std::slice::from_ref(&offered)))
                .with_context(|| format!("cannot write {}", lock_path.display()))?;
            println!("{}: {} {}", lock_path.display(), offered.package, offered.version);
        }
    }
    Ok(())
}

/// Given programs, and built ones for what is not given.
fn node_programs(init: Option<PathBuf>, ironbayd: Option<PathBuf>) -> Result<NodePrograms> {
    match (init, ironbayd) {
        (Some(init), Some(ironbayd)) => NodePrograms::checked(init, ironbayd),
        (init, ironbayd) => {
            let built = binaries::build()?;
            NodePrograms::checked(init.unwrap_or(built.init), ironbayd.unwrap_or(built.ironbayd))
        }
    }
}

fn report(manifest: &kit::Manifest, out: &std::path::Path) {
    println!(
        "Ironbay {} for PXE, kernel {}, in {}",
        manifest.version,
        manifest.kernel.release,
        out.display()
    );
    for file in &manifest.files {
        println!("  {:<14} {:>10}  {}", file.name, progress::human(file.size_bytes), file.sha256);
    }
    println!("  in the initramfs:");
    for part in &manifest.parts {
        println!("    {:<20} {:>10}", part.name, progress::human(part.size_bytes));
    }
}
