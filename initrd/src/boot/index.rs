//! `/lib/modules/modules.idx`: which modules serve which device, written by `image`.
//!
//! ```text
//! pci:v00008086d000010D3sv*sd*bc*sc*i*<TAB>drivers/net/e1000e/e1000e.ko.xz        an alias of a device
//! name:vfio-pci<TAB>vfio.ko.xz … vfio-pci.ko.xz                                   a module by its name
//! ```
//!
//! The files of a line stand in load order, dependencies first.
//!
//! Invariants
//! - A line that is not understood is skipped: the others still work.
//! - Matching takes time proportional to pattern times text, never exponential.

/// The parsed index.
#[derive(Debug, Default)]
pub struct Index {
    aliases: Vec<(String, Vec<String>)>,
    names: Vec<(String, Vec<String>)>,
}

impl Index {
    /// Parses the text of the file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut index = Self::default();
        for line in text.lines() {
            let Some((key, files)) = line.split_once('\t') else { continue };
            let files: Vec<_> = files.split_ascii_whitespace().map(str::to_owned).collect();
            if key.is_empty() || files.is_empty() {
                continue;
            }
            match key.strip_prefix("name:") {
                Some(name) => index.names.push((canonical(name), files)),
                None => index.aliases.push((key.to_owned(), files)),
            }
        }
        index
    }

    /// Files to load for a device, one list per line that matches.
    pub fn for_alias<'a>(&'a self, modalias: &'a str) -> impl Iterator<Item = &'a [String]> {
        self.aliases
            .iter()
            .filter(|(pattern, _)| matches(pattern, modalias))
            .map(|(_, files)| files.as_slice())
    }

    /// Files to load for a module; `-` and `_` are the same in a module's name.
    #[must_use]
    pub fn for_name(&self, name: &str) -> Option<&[String]> {
        let name = canonical(name);
        self.names.iter().find(|(known, _)| *known == name).map(|(_, files)| files.as_slice())
    }
}

/// The kernel's form of a module name.
#[must_use]
pub fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether a shell pattern (`*`, `?`, `[a-f0-9]`) matches the whole text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // After the last star: where the pattern goes on, and the text position that the star has swallowed up to.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match step(pattern.get(p..).unwrap_or_default(), byte) {
            Step::Star => {
                star = Some((p.saturating_add(1), t));
                p = p.saturating_add(1);
            }
            Step::Match(used) => {
                p = p.saturating_add(used);
                t = t.saturating_add(1);
            }
            Step::Differ => {
                let Some((after, swallowed)) = star else { return false };
                let swallowed = swallowed.saturating_add(1);
                star = Some((after, swallowed));
                p = after;
                t = swallowed;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|b| *b == b'*')
}

enum Step {
    Star,
    Match(usize),
    Differ,
}

fn step(pattern: &[u8], byte: u8) -> Step {
    match pattern.first() {
        Some(b'*') => Step::Star,
        Some(b'?') => Step::Match(1),
        Some(b'[') => set(pattern, byte),
        Some(literal) if *literal == byte => Step::Match(1),
        Some(_) | None => Step::Differ,
    }
}

/// `[abc]` and `[a-f]`. A set without an end matches nothing.
fn set(pattern: &[u8], byte: u8) -> Step {
    let Some(end) = pattern.iter().position(|b| *b == b']') else { return Step::Differ };
    let members = pattern.get(1..end).unwrap_or_default();
    let mut rest = members;
    while let [first, tail @ ..] = rest {
        let (last, tail) = match tail {
            [b'-', last, after @ ..] => (last, after),
            _ => (first, tail),
        };
        if (*first..=*last).contains(&byte) {
            return Step::Match(end.saturating_add(1));
        }
        rest = tail;
    }
    Step::Differ
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIRTIO_NET: &str = "virtio:d00000001v00001AF4";
    const E1000E: &str = "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00";

    /// Goal: the patterns that depmod writes match the aliases that sysfs shows.
    #[test]
    fn device_aliases_match() {
        assert!(matches("virtio:d00000001v*", VIRTIO_NET));
        assert!(matches("pci:v00008086d000010D3sv*sd*bc*sc*i*", E1000E));
        assert!(!matches("pci:v00008086d000010D4sv*sd*bc*sc*i*", E1000E));
        assert!(!matches("virtio:d00000001v*", E1000E));
        assert!(!matches("pci:v*", ""));
    }

    /// Goal: each element of a pattern means what the shell means by it.
    #[test]
    fn pattern_elements() {
        for (pattern, text, is_match) in [
            ("", "", true),
            ("*", "", true),
            ("**", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a*b*c", "axbxbxc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-f0]x", "cx", true),
            ("[a-f0]x", "0x", true),
            ("[a-f0]x", "gx", false),
            ("*[0-9]", "ab7", true),
            ("[ab", "a", false),
            ("[]", "]", false),
            ("[a-]", "-", true),
        ] {
            assert_eq!(matches(pattern, text), is_match, "{pattern} against {text}");
        }
    }

    /// Goal: a pattern of many stars does not take exponential time.
    #[test]
    fn many_stars_are_cheap() {
        let pattern = "*a".repeat(200);
        let text = "b".repeat(2000);
        assert!(!matches(&pattern, &text));
    }

    /// Goal: files come in their order, bad lines are skipped, names match with either dash.
    #[test]
    fn lines_are_understood() {
        let index = Index::parse(
            "virtio:d00000001v*\tfailover.ko.xz net_failover.ko.xz virtio_net.ko.xz\n\
             no tab here\n\tx.ko\nempty\t\n\
             name:vfio-pci\tvfio.ko.xz vfio-pci.ko.xz\n",
        );
        let found: Vec<_> = index.for_alias(VIRTIO_NET).collect();
        assert_eq!(found, [["failover.ko.xz", "net_failover.ko.xz", "virtio_net.ko.xz"]]);
        assert_eq!(index.for_name("vfio_pci").unwrap(), ["vfio.ko.xz", "vfio-pci.ko.xz"]);
        assert!(index.for_name("nvme").is_none());
        assert_eq!(index.for_alias(E1000E).count(), 0);
    }
}
