//! One working directory with a configuration, and `terraform` run in it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The provider's address in configurations.
pub(crate) const SOURCE: &str = "ironbay.local/ironbay/ironbay";

/// The program under test.
pub(crate) const PROVIDER: &str = env!("CARGO_BIN_EXE_terraform-provider-ironbay");

/// What `plan` found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Empty,
    Changes,
}

/// One error or warning as Terraform reports it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) is_error: bool,
    pub(crate) summary: String,
    pub(crate) detail: String,
    /// The line of the configuration it points at.
    pub(crate) line: String,
}

/// What a run said; `ok` is its exit status.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) told: Vec<Told>,
    pub(crate) text: String,
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ok: {}, told: {:#?}", self.ok, self.told)
    }
}

impl Ran {
    /// The only error, with everything said if there is none or another one.
    pub(crate) fn error(&self) -> &Told {
        let errors: Vec<_> = self.told.iter().filter(|t| t.is_error).collect();
        assert!(!self.ok && errors.len() == 1, "exactly one error is expected:\n{}", self.text);
        errors[0]
    }

    /// The warnings about what is planned.
    pub(crate) fn warnings(&self) -> Vec<&Told> {
        self.told.iter().filter(|t| !t.is_error).collect()
    }
}

/// A working directory.
pub(crate) struct Terraform {
    program: PathBuf,
    dir: TempDir,
    endpoint: String,
}

/// `terraform` or `tofu`; none if the tests shall be skipped.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["terraform", "tofu"].iter().find_map(|name| {
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
    });
    if found.is_none() && std::env::var_os("IRONBAY_SKIP_TERRAFORM").is_some_and(|v| v == "1") {
        eprintln!("skipped: no terraform in PATH, and IRONBAY_SKIP_TERRAFORM=1");
        return None;
    }
    assert!(
        found.is_some(),
        "this test runs the real Terraform, and neither terraform nor tofu is in PATH. Unpack the one program from the \
         download page of Terraform (1.8 or newer) or OpenTofu into a directory of PATH, or set \
         IRONBAY_SKIP_TERRAFORM=1 to go without these tests"
    );
    found
}

impl Terraform {
    /// A fresh directory for a node at `endpoint`; none if the tests shall be skipped.
    pub(crate) fn new(endpoint: &str) -> Option<Self> {
        let dir = TempDir::new().expect("a temporary directory");
        let overrides = Path::new(PROVIDER).parent().expect("the program is in a directory");
        let cli_config = format!(
            "provider_installation {{\n  dev_overrides {{\n    {SOURCE:?} = {overrides:?}\n  }}\n  direct {{}}\n}}\n"
        );
        std::fs::write(dir.path().join("terraform.rc"), cli_config).expect("the directory is ours");
        Some(Self { program: program()?, dir, endpoint: endpoint.to_owned() })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration: the provider with the node's endpoint, and `body`.
    pub(crate) fn configure(&self, body: &str) -> &Self {
        self.configure_all(&format!("provider \"ironbay\" {{\n  endpoint = {:?}\n}}\n{body}", self.endpoint))
    }

    /// Writes the configuration without the endpoint.
    pub(crate) fn configure_all(&self, body: &str) -> &Self {
        let text = format!(
            "terraform {{\n  required_providers {{\n    ironbay = {{\n      source = {SOURCE:?}\n    }}\n  }}\n}}\n{body}"
        );
        std::fs::write(self.dir().join("main.tf"), text).expect("the directory is ours");
        self
    }

    /// The command, ready to be run or extended.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let ours = ["TF_LOG", "TF_LOG_PROVIDER", "TF_CLI_ARGS", "IRONBAY_ENDPOINT", "TF_REATTACH_PROVIDERS"];
        ours.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
            .args(arguments)
            .current_dir(self.dir())
            .env("HOME", self.dir())
            .env("TF_CLI_CONFIG_FILE", self.dir().join("terraform.rc"))
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1")
            .stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("terraform can be started")
    }

    /// Runs a command that must succeed; returns its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "terraform {arguments:?} failed:\n{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Runs a command with `-json` and reads what it says.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Ran {
        let output = self.output(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ran { ok: output.status.success(), told: told(&text), text }
    }

    /// `terraform apply`, which must succeed.
    pub(crate) fn apply(&self) {
        self.run(&["apply", "-auto-approve", "-input=false", "-no-color"]);
    }

    /// `terraform apply`, whose complaints are wanted.
    pub(crate) fn try_apply(&self) -> Ran {
        self.try_run(&["apply", "-auto-approve", "-input=false", "-json"])
    }

    /// `terraform plan`, whose complaints are wanted.
    pub(crate) fn try_plan(&self) -> Ran {
        self.try_run(&["plan", "-input=false", "-json"])
    }

    /// `terraform plan`, which must succeed.
    pub(crate) fn plan(&self) -> Plan {
        let output = self.output(&["plan", "-input=false", "-detailed-exitcode", "-no-color"]);
        match output.status.code() {
            Some(0) => Plan::Empty,
            Some(2) => Plan::Changes,
            _ => panic!(
                "terraform plan failed:\n{}\n{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }

    /// Fails with the whole plan unless it is empty.
    pub(crate) fn assert_empty_plan(&self) {
        let output = self.output(&["plan", "-input=false", "-detailed-exitcode", "-no-color"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "the plan is not empty:\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Actions of a saved plan by address: `[("ironbay_volume.db", "update")]`.
    pub(crate) fn actions(&self) -> Vec<(String, String)> {
        self.run(&["plan", "-input=false", "-no-color", "-out=saved.plan"]);
        let shown: Value = serde_json::from_str(&self.run(&["show", "-json", "saved.plan"])).expect("JSON");
        let changes = shown["resource_changes"].as_array().cloned().unwrap_or_default();
        let action = |change: &Value| {
            let actions = change["change"]["actions"].as_array().cloned().unwrap_or_default();
            let words: Vec<_> = actions.iter().filter_map(Value::as_str).collect();
            (change["address"].as_str().unwrap_or_default().to_owned(), words.join(","))
        };
        changes.iter().map(action).filter(|(_, action)| action != "no-op").collect()
    }

    /// The attributes of a resource in the state.
    pub(crate) fn state(&self, address: &str) -> Value {
        let shown: Value = serde_json::from_str(&self.run(&["show", "-json"])).expect("JSON");
        let resources = shown["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.into_iter().find(|r| r["address"] == address);
        found.unwrap_or_else(|| panic!("{address} is not in the state: {shown:#}"))["values"].clone()
    }

    /// Addresses in the state.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.run(&["state", "list"]).lines().map(str::to_owned).collect()
    }
}

/// The diagnostics among JSON lines. The standing warning about the override of the provider is left out.
fn told(text: &str) -> Vec<Told> {
    let diagnostics = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let diagnostics = diagnostics.filter_map(|line| line.get("diagnostic").cloned());
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    diagnostics
        .map(|d| Told {
            is_error: d["severity"] == "error",
            summary: string(&d["summary"]),
            detail: string(&d["detail"]),
            line: string(&d["snippet"]["code"]).trim().to_owned(),
        })
        .filter(|t| t.summary != "Provider development overrides are in effect")
        .collect()
}
