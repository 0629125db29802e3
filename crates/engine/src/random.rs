//! Random ids and names.

use ring::rand::{SecureRandom, SystemRandom};
use wharf_model::{Error, Result};

/// 32 random bytes from the kernel.
pub fn bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the kernel gives no random bytes"))?;
    Ok(bytes)
}

const ADJECTIVES: [&str; 40] = [
    "able", "amber", "ample", "ardent", "azure", "bold", "brave", "brisk", "calm", "clear", "clever",
    "coral", "crisp", "deft", "eager", "early", "fair", "fleet", "fond", "gentle", "glad", "grand", "hardy",
    "keen", "kind", "lively", "loyal", "mellow", "merry", "neat", "noble", "patient", "proud", "quick",
    "quiet", "sharp", "steady", "sunny", "warm", "wise",
];

const NOUNS: [&str; 40] = [
    "anchor", "barge", "beacon", "bollard", "bow", "bridge", "buoy", "canal", "captain", "channel",
    "compass", "crane", "crew", "current", "deck", "dinghy", "dock", "ferry", "fjord", "galley", "gull",
    "harbour", "helm", "hull", "island", "jetty", "keel", "lagoon", "lantern", "lock", "mast", "mooring",
    "oar", "pier", "pilot", "quay", "reef", "rudder", "sail", "tide",
];

/// A name for a container that was given none, such as `brisk_harbour`. After a few attempts a number is added.
pub fn name(attempt: u32) -> Result<String> {
    let random = bytes()?;
    let pick = |list: &[&'static str], byte: usize| list[usize::from(random[byte]) % list.len()];
    let name = format!("{}_{}", pick(&ADJECTIVES, 0), pick(&NOUNS, 1));
    Ok(if attempt < 3 { name } else { format!("{name}{}", u16::from_le_bytes([random[2], random[3]])) })
}
