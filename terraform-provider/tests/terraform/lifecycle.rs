//! From the first apply to destroy, as a user goes through it; on the fake and on the real node.

use crate::cli::{Plan, Terraform};
use crate::fake::Fake;
use crate::real::RealNode;
use api::{Client, Timeouts, v1};

const MIB: u64 = 1 << 20;

fn pool_and_volume(size: u64, more: &str) -> String {
    format!(
        r#"
resource "ironbay_pool" "tank" {{
  name   = "tank"
  drives = ["S1", "S0"]
}}
resource "ironbay_volume" "db" {{
  name       = "db"
  pool       = ironbay_pool.tank.id
  size_bytes = {size}
  {more}
}}
"#
    )
}

/// Does something on the node beside Terraform.
fn beside<T>(endpoint: &str, work: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        work(Client::connect(endpoint, Timeouts::default()).await.expect("the node answers")).await
    })
}

/// Create, grow, refuse to shrink, import, vanish, destroy: after each step the plan is empty.
fn whole_life(endpoint: &str) {
    let Some(terraform) = Terraform::new(endpoint) else { return };
    terraform.configure(&pool_and_volume(64 * MIB, ""));
    terraform.apply();
    terraform.assert_empty_plan();
    let made = terraform.state("ironbay_volume.db");
    let pool = terraform.state("ironbay_pool.tank");
    assert_eq!(made["uuid"], made["id"]);
    assert_eq!(
        made["subsystem_nqn"],
        format!("nqn.2014-08.org.nvmexpress:uuid:{}", pool["id"].as_str().unwrap())
    );
    assert_eq!(made["nsid"], 1);
    assert_eq!(made["block_size"], 4096);
    let portal = &made["portals"][0];
    let command = format!(
        "nvme connect -t tcp -a {} -s {} -n {}",
        portal["address"].as_str().unwrap(),
        portal["port"],
        made["subsystem_nqn"].as_str().unwrap()
    );
    assert_eq!(made["connect_command"], command);

    // Grow: in place, nothing else changes.
    terraform.configure(&pool_and_volume(128 * MIB, ""));
    assert_eq!(terraform.actions(), [("ironbay_volume.db".to_owned(), "update".to_owned())]);
    terraform.apply();
    terraform.assert_empty_plan();
    let grown = terraform.state("ironbay_volume.db");
    assert_eq!((&grown["id"], &grown["size_bytes"]), (&made["id"], &(128 * MIB).into()));

    // Shrink: refused by the plan, both sizes named, the attribute pointed at.
    terraform.configure(&pool_and_volume(64 * MIB, ""));
    let refused = terraform.try_plan();
    let error = refused.error();
    assert_eq!(error.summary, "Volume \"db\" cannot shrink");
    assert!(error.detail.contains("134217728 bytes (128 MiB)"), "{error:?}");
    assert!(error.detail.contains("67108864 bytes (64 MiB)"), "{error:?}");
    assert_eq!(error.line, "size_bytes = 67108864");

    change_hosts(&terraform, endpoint);

    // Import by name and by id: the plan is empty.
    terraform.configure(&pool_and_volume(128 * MIB, ""));
    let pool_id = pool["id"].as_str().unwrap();
    terraform.run(&["state", "rm", "ironbay_volume.db", "ironbay_pool.tank"]);
    terraform.run(&["import", "-no-color", "ironbay_pool.tank", pool_id]);
    terraform.run(&["import", "-no-color", "ironbay_volume.db", "db"]);
    assert_eq!(terraform.state("ironbay_volume.db"), grown);
    terraform.assert_empty_plan();

    // Deleted elsewhere: planned for creation, and made again.
    let id = grown["id"].as_str().unwrap().to_owned();
    let gone = v1::DeleteVolumeRequest { id, force: false };
    beside(endpoint, async |c| c.delete_volume(gone).await).expect("nobody uses it");
    assert_eq!(terraform.actions(), [("ironbay_volume.db".to_owned(), "create".to_owned())]);
    terraform.apply();
    terraform.assert_empty_plan();

    terraform.run(&["destroy", "-auto-approve", "-no-color"]);
    let left = beside(endpoint, async |c| (c.volumes().await.unwrap(), c.pools().await.unwrap()));
    assert_eq!(left, (Vec::new(), Vec::new()));
}

/// Hosts are let in and shut out in place; without a list there is none.
fn change_hosts(terraform: &Terraform, endpoint: &str) {
    for (more, hosts) in [
        (r#"allowed_hosts = ["nqn.2014-08.org:b", "nqn.2014-08.org:a"]"#, Some(vec!["a", "b"])),
        (r#"allowed_hosts = ["nqn.2014-08.org:a"]"#, Some(vec!["a"])),
        ("allowed_hosts = []", Some(vec![])),
        ("", None),
    ] {
        terraform.configure(&pool_and_volume(128 * MIB, more));
        assert_eq!(terraform.actions(), [("ironbay_volume.db".to_owned(), "update".to_owned())], "{more}");
        terraform.apply();
        terraform.assert_empty_plan();
        let told = beside(endpoint, async |c| c.volumes().await.expect("it answers")).remove(0).allowed_hosts;
        let nqns =
            |hosts: Vec<&str>| hosts.into_iter().map(|host| format!("nqn.2014-08.org:{host}")).collect();
        assert_eq!(told.map(|allowed| allowed.nqns), hosts.map(nqns), "{more}");
    }
}

/// Blocks of 512 bytes: made so, kept by a growth, an import and a configuration that does not say it any more; another size needs
/// another volume, and the plan says why.
fn small_blocks(endpoint: &str) {
    let Some(terraform) = Terraform::new(endpoint) else { return };
    terraform.configure(&pool_and_volume(64 * MIB, "block_size = 512"));
    terraform.apply();
    terraform.assert_empty_plan();
    let told = beside(endpoint, async |c| c.volumes().await.expect("it answers")).remove(0);
    assert_eq!(told.block_size, 512);
    terraform.configure(&pool_and_volume(128 * MIB, "block_size = 512"));
    assert_eq!(terraform.actions(), [("ironbay_volume.db".to_owned(), "update".to_owned())]);
    terraform.apply();
    let grown = terraform.state("ironbay_volume.db");
    assert_eq!((&grown["id"], &grown["block_size"]), (&told.id.as_str().into(), &512.into()));
    terraform.run(&["state", "rm", "ironbay_volume.db"]);
    terraform.run(&["import", "-no-color", "ironbay_volume.db", "db"]);
    assert_eq!(terraform.state("ironbay_volume.db"), grown);
    terraform.assert_empty_plan();
    terraform.configure(&pool_and_volume(128 * MIB, ""));
    terraform.assert_empty_plan();
    terraform.configure(&pool_and_volume(128 * MIB, "block_size = 4096"));
    assert_eq!(terraform.actions(), [("ironbay_volume.db".to_owned(), "delete,create".to_owned())]);
    let planned = terraform.try_plan();
    let warnings = planned.warnings();
    assert_eq!(warnings[0].summary, "All data of volume \"db\" will be lost", "{planned:#?}");
    assert!(warnings[0].detail.contains("count in blocks"), "{planned:#?}");
    terraform.configure(&pool_and_volume(128 * MIB, "block_size = 512\n  deletion_protection = true"));
    terraform.apply();
    terraform.configure(&pool_and_volume(128 * MIB, "block_size = 4096\n  deletion_protection = true"));
    assert_eq!(terraform.try_plan().error().summary, "Volume \"db\" is protected from deletion");
}

/// Goal: a node that does not tell the block size knows one only; the plan for its volumes stays empty.
#[test]
fn older_nodes_keep_their_volumes() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    for more in ["", "block_size = 4096"] {
        terraform.configure(&pool_and_volume(64 * MIB, more));
        terraform.apply();
        fake.table().volumes[0].block_size = 0;
        terraform.assert_empty_plan();
        assert_eq!(terraform.state("ironbay_volume.db")["block_size"], 4096);
    }
}

/// Goal: 512-byte blocks work against the double.
#[test]
fn small_blocks_on_the_fake() {
    small_blocks(&Fake::start().endpoint);
}

/// Goal: 512-byte blocks work against the daemon that ships.
#[test]
fn small_blocks_on_the_real_node() {
    if Terraform::new("").is_some() {
        small_blocks(RealNode::start().endpoint());
    }
}

/// Goal: the whole life works against the double that the other tests rely on.
#[test]
fn whole_life_on_the_fake() {
    whole_life(&Fake::start().endpoint);
}

/// Goal: the whole life works against the daemon that ships.
#[test]
fn whole_life_on_the_real_node() {
    if Terraform::new("").is_some() {
        whole_life(RealNode::start().endpoint());
    }
}

/// Goal: configuration generated for an import is complete: applied unchanged it plans nothing.
#[test]
fn generated_configuration_plans_nothing() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&pool_and_volume(64 * MIB, ""));
    terraform.apply();
    let pool = terraform.state("ironbay_pool.tank")["id"].as_str().unwrap().to_owned();
    terraform.run(&["state", "rm", "ironbay_volume.db", "ironbay_pool.tank"]);
    terraform.configure(&format!(
        "import {{\n to = ironbay_pool.tank\n id = {pool:?}\n}}\nimport {{\n to = ironbay_volume.db\n id = \"db\"\n}}"
    ));
    terraform.run(&["plan", "-no-color", "-input=false", "-generate-config-out=generated.tf"]);
    terraform.apply();
    assert_eq!(terraform.plan(), Plan::Empty);
    let mut addresses = terraform.addresses();
    addresses.sort();
    assert_eq!(addresses, ["ironbay_pool.tank", "ironbay_volume.db"]);
}

/// Goal: a volume that somebody grew beside Terraform is drift: shown, told apart from a wish to shrink, and healed by
/// writing down the new size.
#[test]
fn growth_elsewhere_is_drift() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&pool_and_volume(64 * MIB, ""));
    terraform.apply();
    let id = fake.table().volumes[0].id.clone();
    let larger = v1::ResizeVolumeRequest { id, size_bytes: 96 * MIB };
    beside(&fake.endpoint, async |c| c.resize_volume(larger).await).expect("there is room");
    let refused = terraform.try_plan();
    assert!(
        refused.error().detail.contains("grew the volume outside of Terraform, 100663296"),
        "{refused:?}"
    );
    terraform.configure(&pool_and_volume(96 * MIB, ""));
    terraform.assert_empty_plan();
}

/// Goal: a protected volume survives destroy, replacement, and the removal of its block; lifting takes one apply.
#[test]
fn protection_is_read_from_the_state() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&pool_and_volume(64 * MIB, "deletion_protection = true"));
    terraform.apply();

    let destroy = ["destroy", "-auto-approve", "-json"];
    let refused = terraform.try_run(&destroy);
    assert_eq!(refused.error().summary, "Volume \"db\" is protected from deletion");
    terraform.configure("");
    assert_eq!(terraform.try_plan().error().summary, "Volume \"db\" is protected from deletion");
    terraform.configure(
        &pool_and_volume(64 * MIB, "deletion_protection = true")
            .replace("\"db\"\n  pool", "\"other\"\n  pool"),
    );
    assert_eq!(terraform.try_plan().error().summary, "Volume \"db\" is protected from deletion");
    assert_eq!(fake.table().volumes.len(), 1);

    terraform.configure(&pool_and_volume(64 * MIB, ""));
    terraform.apply();
    terraform.run(&destroy);
    assert_eq!(fake.table().volumes.len(), 0);
}

/// Goal: another name replaces the volume, and the plan warns that its data goes.
#[test]
fn replacement_warns_of_the_loss() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&pool_and_volume(64 * MIB, ""));
    terraform.apply();
    terraform.configure(&pool_and_volume(64 * MIB, "").replace("\"db\"\n  pool", "\"other\"\n  pool"));
    assert_eq!(terraform.actions(), [("ironbay_volume.db".to_owned(), "delete,create".to_owned())]);
    let planned = terraform.try_plan();
    let summaries: Vec<_> = planned.warnings().iter().map(|w| w.summary.clone()).collect();
    assert_eq!(summaries, ["All data of volume \"db\" will be lost"], "{planned:#?}");
    terraform.apply();
    terraform.assert_empty_plan();
}

/// Goal: drives are listed and filtered, and the function turns text into bytes.
#[test]
fn data_source_and_function() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(
        r#"
data "ironbay_drives" "foreign" {
  state = "foreign"
}
data "ironbay_drives" "all" {}
output "foreign" { value = data.ironbay_drives.foreign.drives }
output "all" { value = join(",", data.ironbay_drives.all.drives[*].serial) }
output "size" { value = provider::ironbay::parse_size("1.5GiB") }
"#,
    );
    terraform.apply();
    let outputs: serde_json::Value =
        serde_json::from_str(&terraform.run(&["output", "-json"])).expect("outputs are JSON");
    assert_eq!(outputs["all"]["value"], "ALIEN,S0,S1,S2,S3");
    assert_eq!(outputs["size"]["value"], 3_u64 << 29);
    let foreign = &outputs["foreign"]["value"];
    assert_eq!(foreign.as_array().map(Vec::len), Some(1));
    assert_eq!(foreign[0]["detail"], "GPT partition table");
    assert!(foreign[0]["pool_id"].is_null());
    terraform.assert_empty_plan();
}

/// Goal: the configuration that documentation and demo use is valid and plans nothing after its apply.
#[test]
fn the_example_works() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/first-light/main.tf");
    std::fs::copy(example, terraform.dir().join("main.tf")).expect("the example is there");
    let variables = format!(
        "endpoint = {:?}\ndrive_serials = [\"S0\", \"S1\"]\nvolume_size_bytes = {{ data = {}, log = {} }}\n",
        fake.endpoint,
        256 * MIB,
        64 * MIB
    );
    std::fs::write(terraform.dir().join("terraform.tfvars"), variables).expect("the directory is ours");
    terraform.apply();
    terraform.assert_empty_plan();
    let outputs: serde_json::Value =
        serde_json::from_str(&terraform.run(&["output", "-json"])).expect("outputs are JSON");
    let data = &outputs["volumes"]["value"]["data"];
    assert_eq!(data["subsystem_nqn"], fake.table().pools[0].subsystem_nqn);
    assert_eq!(data["size_bytes"], 256 * MIB);
}
