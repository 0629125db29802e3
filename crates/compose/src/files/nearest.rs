//! The name that somebody probably meant.

use strsim::osa_distance;

/// The known name that is nearest to a wrong one, if any is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wrong.chars().count() / 3).clamp(1, 3);
    let wrong = wrong.to_lowercase();
    // Two neighbours that are swapped count once.
    let scored = known.into_iter().map(|name| (osa_distance(&wrong, &name.to_lowercase()), name));
    scored.filter(|(score, _)| *score <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let known = ["image", "ports", "environment", "volumes"];
        assert_eq!(nearest("imgae", known), Some("image"));
        assert_eq!(nearest("enviroment", known), Some("environment"));
        assert_eq!(nearest("port", known), Some("ports"));
        assert_eq!(nearest("zzz", known), None);
    }
}
