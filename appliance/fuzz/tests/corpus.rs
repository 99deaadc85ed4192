//! Replays the committed inputs, and inputs that nobody chose.

use std::path::Path;

/// Goal: no input that was ever worth keeping finds anything, and every surface has some.
#[test]
fn committed_inputs_find_nothing() {
    for (name, surface) in fuzz::SURFACES {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let entries = std::fs::read_dir(&dir).expect("the corpus is committed");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
        paths.sort();
        assert!(paths.len() >= 10, "the corpus of {name} has {} inputs", paths.len());
        for path in paths {
            // The name of the input comes before the panic that it causes.
            println!("{}", path.display());
            surface(&std::fs::read(&path).expect("an input is readable"));
        }
    }
}

/// Goal: the surfaces take any bytes: the same random ones each time.
#[test]
fn random_inputs_find_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()[7]
    };
    for (name, surface) in fuzz::SURFACES {
        for round in 0..300usize {
            let input: Vec<u8> = (0..round * 2).map(|_| next()).collect();
            println!("{name}, round {round}");
            surface(&input);
        }
    }
}
