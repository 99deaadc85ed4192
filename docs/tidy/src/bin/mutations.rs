//! Proves the proofs (`make mutations`): takes one protection away after the other, and expects a test to turn red.
//!
//! Works in a copy below the target directory, which it keeps, so that the next run builds little. The checkout is only read:
//! whenever this is killed, nothing of it is left there.
//!
//! | outcome of a mutation | |
//! |---|---|
//! | a test fails, or the tests abort | good; the test that noticed first is named, and run once more without the mutation |
//! | all tests pass | wrong: nothing proves this protection |
//! | it does not build, its lines are gone, no verdict in time | wrong: the list says nothing about the code |
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tidy::{Mutation, crates, mutations, root, tracked_and_new};

/// How long the tests of one mutation may take: much longer than those of the slowest package without any.
const VERDICT: Duration = Duration::from_secs(900);

/// The copy in which mutations are made.
struct Scratch {
    tree: PathBuf,
    target: PathBuf,
    /// Held as long as this lives: two runs would disturb each other.
    _lock: std::fs::File,
}

/// What the tests said.
enum Verdict {
    Green,
    /// The first test that failed; `None` if the program ended without naming one.
    Red(Option<String>),
}

fn text_of(error: impl core::fmt::Display) -> String {
    error.to_string()
}

impl Scratch {
    fn new() -> Result<Self, String> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let target = std::path::absolute(target.join("mutations")).map_err(text_of)?;
        let tree = target.join("tree");
        std::fs::create_dir_all(&tree).map_err(text_of)?;
        let lock = std::fs::File::create(target.join("lock")).map_err(text_of)?;
        lock.try_lock().map_err(|_| "another run is under way".to_owned())?;
        let scratch = Self { tree, target, _lock: lock };
        scratch.copy()?;
        Ok(scratch)
    }

    /// Makes the copy equal to the checkout; files that are equal keep their times, so they are not built again.
    fn copy(&self) -> Result<(), String> {
        let files: BTreeSet<String> = tracked_and_new().into_iter().collect();
        let list = self.target.join("files");
        for old in std::fs::read_to_string(&list).unwrap_or_default().lines() {
            if !files.contains(old) {
                let _ = std::fs::remove_file(self.tree.join(old));
            }
        }
        for file in &files {
            let bytes = std::fs::read(root().join(file)).map_err(text_of)?;
            self.put(file, &bytes)?;
        }
        std::fs::write(list, files.into_iter().collect::<Vec<_>>().join("\n")).map_err(text_of)
    }

    fn put(&self, file: &str, bytes: &[u8]) -> Result<(), String> {
        let to = self.tree.join(file);
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        std::fs::create_dir_all(to.parent().unwrap_or(&self.tree)).map_err(text_of)?;
        std::fs::write(to, bytes).map_err(text_of)
    }

    /// Builds the unit tests of a package; gives the program.
    fn build(&self, package: &str) -> Result<PathBuf, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["test", "--locked", "--no-run", "--lib", "--color=never", "-p", package]);
        let cargo = cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        let out = cargo.output().map_err(text_of)?;
        let said = String::from_utf8_lossy(&out.stderr);
        if !out.status.success() {
            return Err(format!("it does not build:\n{said}"));
        }
        let program = said.lines().filter_map(|line| line.trim().strip_prefix("Executable")).next_back();
        let path = program.and_then(|line| line.rsplit_once('(')?.1.strip_suffix(')'));
        Ok(self.tree.join(path.ok_or_else(|| format!("cargo names no test program:\n{said}"))?))
    }

    /// Runs tests until the first one fails.
    fn run(&self, program: &Path, package: &str, arguments: &[String]) -> Result<Verdict, String> {
        let found = crates().into_iter().find(|found| found.name == package);
        let directory = self.tree.join(found.ok_or("no such package")?.dir);
        let mut tests = Command::new(program);
        tests.arg("--color=never").args(arguments);
        let tests = tests.current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut tests = tests.spawn().map_err(text_of)?;
        let output = BufReader::new(tests.stdout.take().ok_or("no output")?);
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let begin = Instant::now();
        let outcome = loop {
            match lines.recv_timeout(VERDICT.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    let failed = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
                    if let Some(name) = failed {
                        break Ok(Verdict::Red(Some(name.to_owned())));
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    break Err(format!("no verdict after {} s", VERDICT.as_secs()));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let is_green = tests.wait().map_err(text_of)?.success();
                    return Ok(if is_green { Verdict::Green } else { Verdict::Red(None) });
                }
            }
        };
        // What it would still find is of no interest.
        let _ = tests.kill();
        tests.wait().map_err(text_of)?;
        outcome
    }

    /// Makes one mutation, runs the tests, and takes it back.
    fn judge(&self, mutation: &Mutation) -> Result<Verdict, String> {
        let text = std::fs::read_to_string(self.tree.join(&mutation.file)).map_err(text_of)?;
        self.put(&mutation.file, mutation.apply(&text)?.as_bytes())?;
        let verdict = self
            .build(&mutation.package)
            .and_then(|program| self.run(&program, &mutation.package, &mutation.tests));
        self.put(&mutation.file, text.as_bytes())?;
        verdict
    }
}

/// Which test of which package noticed something.
type Noticed = BTreeSet<(String, String)>;

/// Makes all mutations; prints the table; gives the tests that noticed, and what is wrong.
fn prove(scratch: &Scratch, list: &[Mutation]) -> (Noticed, Vec<String>) {
    let width = list.iter().map(|m| m.protection.chars().count()).max().unwrap_or(0);
    let (mut noticed, mut wrong) = (Noticed::new(), Vec::new());
    println!("{:width$} | test that noticed | seconds", "protection");
    for mutation in list {
        let begin = Instant::now();
        let (name, problem) = match scratch.judge(mutation) {
            Ok(Verdict::Red(Some(test))) => {
                noticed.insert((mutation.package.clone(), test.clone()));
                (test, None)
            }
            Ok(Verdict::Red(None)) => ("the tests abort".to_owned(), None),
            Ok(Verdict::Green) => ("NONE".to_owned(), Some("no test noticed".to_owned())),
            Err(error) => ("NO VERDICT".to_owned(), Some(error)),
        };
        println!("{:width$} | {name} | {}", mutation.protection, begin.elapsed().as_secs());
        wrong.extend(problem.map(|problem| format!("[{}]: {problem}", mutation.name)));
    }
    (noticed, wrong)
}

/// The tests that noticed something pass without a mutation; otherwise they said nothing.
fn prove_green(scratch: &Scratch, noticed: &Noticed) -> Result<(), String> {
    let packages: BTreeSet<&String> = noticed.iter().map(|(package, _)| package).collect();
    for package in packages {
        let names = noticed.iter().filter(|(of, _)| of == package).map(|(_, test)| test.clone());
        let tests: Vec<String> = core::iter::once("--exact".to_owned()).chain(names).collect();
        let program = scratch.build(package)?;
        if let Verdict::Red(test) = scratch.run(&program, package, &tests)? {
            return Err(format!("{package} is red without any mutation: {}", test.unwrap_or_default()));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let list: Vec<Mutation> =
        mutations().into_iter().filter(|m| only.is_empty() || only.contains(&m.name)).collect();
    if list.is_empty() {
        eprintln!("mutations: there is none of this name in {}", tidy::LIST);
        return ExitCode::FAILURE;
    }
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("mutations: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (noticed, mut wrong) = prove(&scratch, &list);
    wrong.extend(prove_green(&scratch, &noticed).err());
    for line in &wrong {
        eprintln!("mutations: {line}");
    }
    println!("{} mutations, {} wrong", list.len(), wrong.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
