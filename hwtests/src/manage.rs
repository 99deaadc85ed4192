//! The operator: terraform (or tofu) with our provider, or the `ironbay` program where neither is there.
//!
//! Both do the same steps on the same names, so a scenario does not care which it has; it says so in its output.

use crate::child::{Finished, run};
use crate::limits::TERRAFORM;
use crate::network::Network;
use crate::node::Node;
use crate::parts::Parts;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Sizes of the two volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Volume "data".
    pub data: u64,
    /// Volume "log".
    pub log: u64,
}

/// What a host needs to know of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// UUID of the namespace.
    pub uuid: String,
    /// Subsystem to connect to.
    pub nqn: String,
    /// Namespace identifier.
    pub nsid: u64,
    /// Size.
    pub size_bytes: u64,
}

/// Who manages the node.
#[derive(Debug)]
pub enum Operator {
    /// Terraform or tofu.
    Terraform(Terraform),
    /// The `ironbay` program.
    Client {
        /// Serial numbers of the pool's drives.
        drives: Vec<String>,
    },
}

impl Operator {
    /// Terraform if it is in PATH, else tofu, else the client.
    pub fn find(parts: &Parts, dir: &Path, drives: &[&str]) -> Result<Self> {
        let found = ["terraform", "tofu"].into_iter().find_map(in_path);
        match found {
            Some(program) => Ok(Self::Terraform(Terraform::set_up(program, parts, dir, drives)?)),
            None => Ok(Self::Client { drives: drives.iter().map(|d| (*d).to_owned()).collect() }),
        }
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        match self {
            Self::Terraform(terraform) => {
                terraform.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Self::Client { .. } => "ironbay".to_owned(),
        }
    }

    /// Makes the node have the pool and volumes of these sizes.
    pub fn apply(&self, network: &Network, node: &Node, sizes: Sizes) -> Result<String> {
        match self {
            Self::Terraform(terraform) => terraform.apply(network, sizes),
            Self::Client { drives } => apply_by_client(network, node, drives, sizes),
        }
    }

    /// Checks that nothing would be changed.
    pub fn expect_no_changes(&self, network: &Network, node: &Node, sizes: Sizes) -> Result<String> {
        match self {
            Self::Terraform(terraform) => terraform.expect_no_changes(network, sizes),
            Self::Client { .. } => {
                let found = self.volumes(network, node)?;
                let sizes = [("data", sizes.data), ("log", sizes.log)];
                let fits = |(name, size)| found.iter().any(|v| v.name == name && v.size_bytes == size);
                ensure!(
                    found.len() == 2 && sizes.into_iter().all(fits),
                    "the volumes have changed: {found:?}"
                );
                Ok("the volumes are as they were".to_owned())
            }
        }
    }

    /// Removes everything.
    pub fn destroy(&self, network: &Network, node: &Node, sizes: Sizes) -> Result<String> {
        match self {
            Self::Terraform(terraform) => terraform.destroy(network, sizes),
            Self::Client { .. } => {
                for volume in ["data", "log"] {
                    node.client(network, &["volume", "delete", volume])?;
                }
                node.client(network, &["pool", "delete", "tank"])?;
                Ok("3 objects deleted".to_owned())
            }
        }
    }

    /// The volumes with what a host needs to connect.
    pub fn volumes(&self, network: &Network, node: &Node) -> Result<Vec<Volume>> {
        match self {
            Self::Terraform(terraform) => terraform.volumes(network),
            Self::Client { .. } => {
                let answer = node.client(network, &["volume", "list"])?;
                let list =
                    answer.get("volumes").unwrap_or(&answer).as_array().context("a list of volumes")?;
                list.iter().map(volume_of_api).collect()
            }
        }
    }
}

fn apply_by_client(network: &Network, node: &Node, drives: &[String], sizes: Sizes) -> Result<String> {
    let existing = volumes_of_api(&node.client(network, &["volume", "list"])?)?;
    if existing.is_empty() {
        let drives = drives.iter().flat_map(|d| ["--drive", d.as_str()]);
        node.client(network, &["pool", "create", "tank"].into_iter().chain(drives).collect::<Vec<_>>())?;
    }
    for (name, size_bytes) in [("data", sizes.data), ("log", sizes.log)] {
        let size = size_bytes.to_string();
        match existing.iter().find(|v| v.name == name) {
            None => node.client(network, &["volume", "create", name, "--pool", "tank", "--size", &size])?,
            Some(volume) if volume.size_bytes < size_bytes => {
                node.client(network, &["volume", "resize", name, "--size", &size])?
            }
            Some(_) => continue,
        };
    }
    Ok("by the ironbay program".to_owned())
}

/// The volumes of an answer of the API.
pub fn volumes_of_api(answer: &Value) -> Result<Vec<Volume>> {
    let list = answer.get("volumes").unwrap_or(answer).as_array().context("a list of volumes")?;
    list.iter().map(volume_of_api).collect()
}

fn volume_of_api(value: &Value) -> Result<Volume> {
    let connection = value.get("connection").context("a volume says how to connect")?;
    Ok(Volume {
        name: text(value, "name")?,
        uuid: text(value, "id")?,
        nqn: text(connection, "subsystem_nqn")?,
        nsid: number(connection, "nsid")?,
        size_bytes: number(value, "size_bytes")?,
    })
}

fn text(value: &Value, key: &str) -> Result<String> {
    let found = value.get(key).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no text {key:?} in {value}"))?.to_owned())
}

/// 64-bit numbers may come as text (the JSON rules of protobuf).
fn number(value: &Value, key: &str) -> Result<u64> {
    let found = value.get(key).and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
    found.with_context(|| format!("no number {key:?} in {value}"))
}

/// A terraform directory with our provider.
#[derive(Debug)]
pub struct Terraform {
    program: PathBuf,
    /// The directory: configuration and state.
    pub dir: PathBuf,
    /// The command line configuration that points at our provider.
    pub config: PathBuf,
    drives: String,
}

impl Terraform {
    fn set_up(program: PathBuf, parts: &Parts, lab: &Path, drives: &[&str]) -> Result<Self> {
        let example = image::debian::workspace().join("terraform-provider/examples/first-light");
        let (dir, plugins) = (lab.join("terraform"), lab.join("provider"));
        for made in [&dir, &plugins] {
            std::fs::create_dir(made).with_context(|| format!("cannot create {}", made.display()))?;
        }
        let mut source = None;
        for entry in
            std::fs::read_dir(&example).with_context(|| format!("cannot read {}", example.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "tf") {
                let text = std::fs::read_to_string(&path)?;
                source = source.or_else(|| provider_source(&text));
                std::fs::write(dir.join(path.file_name().unwrap_or_default()), text)?;
            }
        }
        let source = source.with_context(|| format!("{} names no provider", example.display()))?;
        std::os::unix::fs::symlink(&parts.provider, plugins.join("terraform-provider-ironbay"))
            .context("cannot link the provider")?;
        let config = lab.join("terraform.rc");
        let text = format!(
            "provider_installation {{\n  dev_overrides {{\n    {source:?} = {plugins:?}\n  }}\n  direct {{}}\n}}\n"
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let drives = serde_json::to_string(drives)?;
        Ok(Self { program, dir, config, drives })
    }

    /// Variables and settings of every call.
    pub fn environment(&self, sizes: Sizes) -> Vec<(&'static str, String)> {
        vec![
            ("TF_CLI_CONFIG_FILE", self.config.display().to_string()),
            ("TF_IN_AUTOMATION", "1".to_owned()),
            ("TF_INPUT", "0".to_owned()),
            ("CHECKPOINT_DISABLE", "1".to_owned()),
            ("TF_VAR_endpoint", Node::api().to_string()),
            ("TF_VAR_drive_serials", self.drives.clone()),
            ("TF_VAR_volume_size_bytes", format!("{{\"data\":{},\"log\":{}}}", sizes.data, sizes.log)),
        ]
    }

    fn call(&self, network: &Network, sizes: Sizes, arguments: &[&str]) -> Result<Finished> {
        let mut command = network.command(&self.program);
        command.current_dir(&self.dir).args(arguments).envs(self.environment(sizes));
        run(&mut command, TERRAFORM)
    }

    fn apply(&self, network: &Network, sizes: Sizes) -> Result<String> {
        let finished = self.call(network, sizes, &["apply", "-auto-approve", "-no-color"])?;
        let text = finished.ok("terraform apply")?;
        Ok(last_line_with(&text, "Apply complete!"))
    }

    fn expect_no_changes(&self, network: &Network, sizes: Sizes) -> Result<String> {
        let finished = self.call(network, sizes, &["plan", "-detailed-exitcode", "-no-color"])?;
        match finished.code {
            0 => Ok("no changes".to_owned()),
            2 => bail!("terraform plan is not empty:\n{}", finished.stdout),
            _ => bail!(
                finished.ok("terraform plan").err().unwrap_or_else(|| anyhow::anyhow!("terraform plan"))
            ),
        }
    }

    fn destroy(&self, network: &Network, sizes: Sizes) -> Result<String> {
        let finished = self.call(network, sizes, &["destroy", "-auto-approve", "-no-color"])?;
        let text = finished.ok("terraform destroy")?;
        Ok(last_line_with(&text, "Destroy complete!"))
    }

    fn volumes(&self, network: &Network) -> Result<Vec<Volume>> {
        let finished = self.call(network, Sizes { data: 0, log: 0 }, &["show", "-json", "-no-color"])?;
        let state: Value = serde_json::from_str(&finished.ok("terraform show")?)?;
        let resources = state.pointer("/values/root_module/resources").and_then(Value::as_array);
        let volumes = resources.context("terraform's state has resources")?.iter();
        volumes
            .filter(|r| r.get("type").is_some_and(|t| t == "ironbay_volume"))
            .filter_map(|r| r.get("values"))
            .map(|values| {
                Ok(Volume {
                    name: text(values, "name")?,
                    uuid: text(values, "uuid")?,
                    nqn: text(values, "subsystem_nqn")?,
                    nsid: number(values, "nsid")?,
                    size_bytes: number(values, "size_bytes")?,
                })
            })
            .collect()
    }
}

/// The `source` of our provider in a configuration.
fn provider_source(text: &str) -> Option<String> {
    let line = text.lines().find(|l| l.trim_start().starts_with("source") && l.contains("ironbay"))?;
    Some(line.split('"').nth(1)?.to_owned())
}

fn last_line_with(text: &str, word: &str) -> String {
    text.lines().rfind(|l| l.contains(word)).unwrap_or(word).trim().to_owned()
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::{number, provider_source, volume_of_api};
    use serde_json::json;

    /// Goal: the lab finds under which name the example asks for our provider.
    #[test]
    fn finds_the_source() {
        let text = "terraform {\n  required_providers {\n    ironbay = {\n      source = \"ironbay/ironbay\"\n    }\n  }\n}";
        assert_eq!(provider_source(text).as_deref(), Some("ironbay/ironbay"));
        assert_eq!(provider_source("resource \"ironbay_pool\" \"a\" {}"), None);
    }

    /// Goal: volumes are read as the client prints them; a missing field is named.
    #[test]
    fn reads_volumes() {
        let value = json!({
            "name": "data", "id": "u", "size_bytes": 5,
            "connection": { "subsystem_nqn": "nqn", "nsid": 1 }
        });
        assert_eq!(volume_of_api(&value).expect("a volume").nsid, 1);
        assert_eq!(number(&json!({ "n": "18446744073709551615" }), "n").expect("a number"), u64::MAX);
        assert!(number(&value, "gone").expect_err("missing").to_string().contains("gone"));
    }
}
