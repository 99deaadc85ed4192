//! Wrong values, a full pool, a node that does not answer: each is told with the object, the attribute and the remedy.

use crate::cli::Terraform;
use crate::fake::{Fake, Fault};
use crate::real::RealNode;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn pool(drives: &str) -> String {
    format!("resource \"ironbay_pool\" \"tank\" {{\n  name = \"tank\"\n  drives = {drives}\n}}\n")
}

fn volume(name: &str, size: &str) -> String {
    format!(
        "resource \"ironbay_volume\" \"{name}\" {{\n  name = \"{name}\"\n  pool = ironbay_pool.tank.id\n  size_bytes = {size}\n}}\n"
    )
}

/// Goal: wrong values are refused by `validate`, without a node, at the attribute, with the rule in the message.
#[test]
fn wrong_values() {
    let Some(terraform) = Terraform::new("127.0.0.1:1") else { return };
    let long = "a".repeat(64);
    let cases = [
        (volume("Big_DB", "1048576"), "name = \"Big_DB\"", "characters of a-z, 0-9 and '-'"),
        (volume(&long, "1048576"), &format!("name = \"{long}\""), "1 to 63 characters"),
        (volume("db", "1000000"), "size_bytes = 1000000", "the next is 1048576 bytes (1 MiB)"),
        (volume("db", "0"), "size_bytes = 0", "multiple of 1 MiB"),
        (volume("db", "1.5"), "size_bytes = 1.5", "must be a whole number, not 1.5"),
        (volume("db", "-1048576"), "size_bytes = -1048576", "must be between 0 and"),
        (volume("db", "18446744073709551616"), "size_bytes = 18446744073709551616", "must be between 0 and"),
        (
            volume("db", "1048576").replace("ironbay_pool.tank.id", "\"tank\""),
            "pool = \"tank\"",
            "ironbay_pool.NAME.id",
        ),
        (volume("db", "1048576\n  block_size = 1024"), "block_size = 1024", "must be 512 or 4096, not 1024"),
        (pool("[]"), "drives = []", "must name 1 to 16 drives"),
        (pool("[\"S0\", \"\"]"), "drives = [\"S0\", \"\"]", "serial numbers"),
        (
            "data \"ironbay_drives\" \"d\" {\n  state = \"new\"\n}\n".to_owned(),
            "state = \"new\"",
            "must be one of blank",
        ),
    ];
    for (body, line, problem) in cases {
        let support = if body.contains("ironbay_pool.tank.id") { pool("[\"S0\"]") } else { String::new() };
        terraform.configure(&format!("{body}{support}"));
        let refused = terraform.try_run(&["plan", "-json", "-input=false", "-refresh=false"]);
        let error = refused.error();
        assert!(error.detail.contains(problem), "{body}: {error:?}");
        assert_eq!(error.line, line, "{error:?}");
    }
}

/// Goal: an address that cannot be one is refused as a value; a missing one names both ways to give it.
#[test]
fn wrong_endpoint() {
    let Some(terraform) = Terraform::new("https://node") else { return };
    terraform.configure(&pool("[\"S0\"]"));
    let refused = terraform.try_plan();
    assert!(refused.error().detail.contains("must be HOST or HOST:PORT"), "{refused:?}");
    assert_eq!(refused.error().line, "endpoint = \"https://node\"");

    terraform.configure_all(&format!("provider \"ironbay\" {{}}\n{}", pool("[\"S0\"]")));
    let refused = terraform.try_plan();
    assert!(refused.error().detail.contains("IRONBAY_ENDPOINT"), "{refused:?}");
}

/// Goal: a node that does not answer ends an apply in bounded time, with its address and what to check, and nothing is
/// lost: the state of what exists stays as it is.
#[test]
fn unreachable_node() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&(pool("[\"S0\"]") + &volume("db", "1048576")));
    terraform.apply();
    let endpoint = fake.endpoint.clone();
    drop(fake);

    let refused = terraform.try_plan();
    let errors: Vec<_> = refused.told.iter().filter(|t| t.is_error).collect();
    assert!(!refused.ok && !errors.is_empty(), "{refused:?}");
    for error in errors {
        assert!(error.summary.ends_with("the Ironbay node does not answer"), "{error:?}");
        assert!(error.detail.contains(&endpoint) && error.detail.contains("ironbay.insecure=1"), "{error:?}");
    }
    assert_eq!(terraform.addresses(), ["ironbay_pool.tank", "ironbay_volume.db"]);
}

/// Goal: a creation against a node that never answered leaves nothing to clean up.
#[test]
fn unreachable_node_at_creation() {
    let Some(terraform) = Terraform::new("127.0.0.1:1") else { return };
    terraform.configure(&pool("[\"S0\"]"));
    let refused = terraform.try_apply();
    let error = refused.error();
    assert_eq!(error.summary, "Cannot create pool \"tank\": the Ironbay node does not answer");
    assert!(error.detail.contains("127.0.0.1:1"), "{error:?}");
}

/// What can never fit is refused by the plan with the free space; what may fit later is a warning in the plan and the
/// node's own refusal in the apply, at the attribute.
fn over_capacity(endpoint: &str) {
    let Some(terraform) = Terraform::new(endpoint) else { return };
    terraform.configure(&pool("[\"S0\"]"));
    terraform.apply();
    let size = terraform.state("ironbay_pool.tank")["size_bytes"].as_u64().expect("a size");

    terraform.configure(&(pool("[\"S0\"]") + &volume("db", &(2 * GIB).to_string())));
    let refused = terraform.try_plan();
    let error = refused.error();
    assert_eq!(error.summary, "Volume \"db\" does not fit into pool \"tank\"");
    assert!(error.detail.contains(&format!("has {size} bytes")), "{error:?}");
    assert!(error.detail.contains(&format!("at most {size}")), "{error:?}");
    assert_eq!(error.line, "size_bytes = 2147483648");

    let first = pool("[\"S0\"]") + &volume("a", &(size - MIB).to_string());
    terraform.configure(&first);
    terraform.apply();
    terraform.configure(&(first + &volume("b", "2097152")));
    let planned = terraform.try_plan();
    let warnings = planned.warnings();
    assert!(planned.ok && warnings.len() == 1, "{planned:?}");
    assert!(warnings[0].detail.contains("has 1048576 bytes (1 MiB) free"), "{warnings:?}");
    let refused = terraform.try_apply();
    let error = refused.error();
    assert_eq!(error.summary, "Cannot create volume \"b\"");
    assert!(error.detail.contains("at most 1048576 bytes"), "{error:?}");
    assert_eq!(error.line, "size_bytes = 2097152");
    terraform.run(&["destroy", "-auto-approve", "-no-color"]);
}

/// A name that is taken is told at the name, with the command that takes the object over.
fn name_is_taken(endpoint: &str) {
    let Some(terraform) = Terraform::new(endpoint) else { return };
    terraform.configure(&(pool("[\"S0\"]") + &volume("db", "1048576")));
    terraform.apply();
    terraform.run(&["state", "rm", "ironbay_volume.db"]);
    let refused = terraform.try_apply();
    assert!(refused.error().detail.contains("terraform import ironbay_volume.NAME db"), "{refused:?}");
    assert_eq!(refused.error().line, "name = \"db\"");
    terraform.run(&["import", "-no-color", "ironbay_volume.db", "db"]);
    terraform.run(&["destroy", "-auto-approve", "-no-color"]);
}

/// A pool that holds volumes which Terraform does not know is not deleted, and the message names one.
fn pool_in_use(endpoint: &str) {
    let Some(terraform) = Terraform::new(endpoint) else { return };
    terraform.configure(&(pool("[\"S0\"]") + &volume("db", "1048576")));
    terraform.apply();
    terraform.run(&["state", "rm", "ironbay_volume.db"]);
    let refused = terraform.try_run(&["destroy", "-auto-approve", "-json"]);
    assert_eq!(refused.error().summary, "Cannot delete pool \"tank\"");
    assert!(refused.error().detail.contains("db"), "{refused:?}");
    assert_eq!(terraform.addresses(), ["ironbay_pool.tank"]);
    terraform.run(&["import", "-no-color", "ironbay_volume.db", "db"]);
    terraform.run(&["destroy", "-auto-approve", "-no-color"]);
}

/// Goal: what depends on the node's words works against the double.
#[test]
fn refusals_of_the_fake() {
    let fake = Fake::start();
    [over_capacity, name_is_taken, pool_in_use].iter().for_each(|scenario| scenario(&fake.endpoint));
}

/// Goal: the same against the daemon that ships.
#[test]
fn refusals_of_the_real_node() {
    if Terraform::new("").is_some() {
        let node = RealNode::start();
        [over_capacity, name_is_taken, pool_in_use].iter().for_each(|scenario| scenario(node.endpoint()));
    }
}

/// Goal: drives that cannot join are told by the plan: unknown with the choice, foreign with the switch that allows it.
#[test]
fn unusable_drives() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&pool("[\"S9\"]"));
    let refused = terraform.try_plan();
    assert_eq!(refused.error().summary, "There is no drive \"S9\"");
    assert!(refused.error().detail.contains("S0, S1, S2, S3"), "{refused:?}");
    assert_eq!(refused.error().line, "drives = [\"S9\"]");

    terraform.configure(&pool("[\"ALIEN\"]"));
    let refused = terraform.try_plan();
    assert!(refused.error().detail.contains("GPT partition table"), "{refused:?}");
    assert!(refused.error().detail.contains("overwrite_foreign_data = true"), "{refused:?}");

    terraform.configure(&pool("[\"ALIEN\"]\n  overwrite_foreign_data = true"));
    terraform.apply();
    terraform.assert_empty_plan();
}

/// Goal: a volume in use is not deleted; the message names the host; `force_delete`, applied first, overrides.
#[test]
fn volume_in_use() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    let both = |more: &str| pool("[\"S0\"]") + &volume("db", &format!("1048576\n  {more}"));
    terraform.configure(&both(""));
    terraform.apply();
    fake.table().volumes[0].hosts.push("nqn.2014-08.org.example:host".to_owned());
    let refused = terraform.try_run(&["destroy", "-auto-approve", "-json"]);
    assert!(refused.error().detail.contains("in use by nqn.2014-08.org.example:host"), "{refused:?}");
    assert_eq!(terraform.addresses(), ["ironbay_pool.tank", "ironbay_volume.db"]);

    terraform.configure(&both("force_delete = true"));
    terraform.apply();
    terraform.run(&["destroy", "-auto-approve", "-no-color"]);
    assert!(fake.table().volumes.is_empty());
}

/// Goal: a volume whose creation was not answered is not forgotten: it is in the state as tainted, and the next apply
/// leaves exactly one volume. Whether the node stays silent, or refuses the repetition.
#[test]
fn lost_answer_orphans_nothing() {
    for fault in [Fault::AnswerLost, Fault::Freezes] {
        lose_answer(fault);
    }
}

fn lose_answer(fault: Fault) {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    terraform.configure(&pool("[\"S0\"]"));
    terraform.apply();
    terraform.configure(&(pool("[\"S0\"]") + &volume("db", "1048576\n  deletion_protection = true")));
    fake.table().fault = fault;
    let refused = terraform.try_apply();
    assert!(refused.error().summary.starts_with("Cannot create volume \"db\""), "{refused:?}");
    assert_eq!(terraform.state("ironbay_volume.db")["id"], fake.table().volumes[0].id);

    fake.table().fault = Fault::None;
    terraform.apply();
    terraform.assert_empty_plan();
    assert_eq!(fake.table().volumes.len(), 1);
    assert_eq!(terraform.state("ironbay_volume.db")["id"], fake.table().volumes[0].id);
}

/// Goal: a volume that is zeroed for longer than the node lets a call wait is waited for, not given up and made again. What is still
/// being created cannot be imported.
#[test]
fn long_zeroing_is_waited_for() {
    let fake = Fake::start();
    let Some(terraform) = Terraform::new(&fake.endpoint) else { return };
    let both = pool("[\"S0\"]") + &volume("db", "1048576");
    terraform.configure(&both);
    fake.table().fault = Fault::ZeroesLong;
    terraform.apply();
    terraform.assert_empty_plan();
    assert_eq!(fake.table().volumes.len(), 1);

    terraform.run(&["state", "rm", "ironbay_volume.db"]);
    fake.table().volumes[0].set_state(api::v1::VolumeState::Creating);
    terraform.configure(&(both + "import {\n to = ironbay_volume.db\n id = \"db\"\n}\n"));
    let refused = terraform.try_plan();
    assert!(refused.error().summary.ends_with("it is being created"), "{refused:?}");
}
