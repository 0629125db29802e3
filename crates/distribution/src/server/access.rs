//! Who may do what: identities and rules.

use super::settings::{Action, Rule, Settings, any};

/// The user pattern that is everybody, known or not.
const EVERYBODY: &str = "@anonymous";

/// What a token lets its bearer do with one thing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Grant {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) actions: Vec<String>,
}

/// Who makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// The user's name; `None` for everybody.
    pub(super) user: Option<String>,
    /// What a token allows: no more than this is done with it.
    pub(super) grants: Option<Vec<Grant>>,
    /// The grants are those of a token server that is trusted: the rules here do not count.
    pub(super) foreign: bool,
}

/// What is said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    /// Other credentials might be allowed it.
    Unauthorised,
    /// This user is not.
    Denied,
}

/// The rules in force.
#[derive(Debug)]
pub(super) struct Access {
    rules: Vec<Rule>,
    /// Some kind of credentials is known.
    credentials: bool,
}

impl Access {
    pub(super) fn new(settings: &Settings) -> Self {
        let auth = &settings.auth;
        let certificates = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let credentials = auth.htpasswd.is_some() || auth.trust.is_some() || certificates;
        Self { rules: settings.access.clone(), credentials }
    }

    /// Whether users are told apart at all.
    pub(super) fn knows_users(&self) -> bool {
        self.credentials
    }

    /// What the rules let a user do, tokens aside.
    pub(super) fn rules_allow(&self, user: Option<&str>, repository: &str, action: Action) -> bool {
        if self.rules.is_empty() {
            return user.is_some() || !self.credentials;
        }
        self.rules.iter().any(|rule| {
            let named = rule
                .users
                .iter()
                .any(|pattern| pattern.0 == EVERYBODY || user.is_some_and(|user| pattern.fits(user)));
            named && rule.actions.contains(&action) && any(&rule.repositories, repository)
        })
    }

    /// Whether somebody without a name may do anything.
    pub(super) fn lets_everybody(&self) -> bool {
        match self.rules.is_empty() {
            true => !self.credentials,
            false => self.rules.iter().any(|rule| rule.users.iter().any(|u| u.0 == EVERYBODY)),
        }
    }

    /// Whether an identity may do something in a repository.
    pub(super) fn judge(&self, who: &Identity, repository: &str, action: Action) -> Verdict {
        let granted = who.grants.as_ref().is_none_or(|grants| {
            grants.iter().any(|grant| {
                let done = grant.actions.iter().any(|a| a == "*" || a == action.as_str());
                grant.kind == "repository" && grant.name == repository && done
            })
        });
        let ruled = who.foreign || self.rules_allow(who.user.as_deref(), repository, action);
        match (granted, ruled) {
            (true, true) => Verdict::Allowed,
            (false, true) => Verdict::Unauthorised,
            _ if who.user.is_none() && self.credentials => Verdict::Unauthorised,
            _ => Verdict::Denied,
        }
    }

    /// Whether a new token of this registry's own would let its bearer do what this one does not.
    pub(super) fn another_token_allows(&self, who: &Identity, repository: &str, action: Action) -> bool {
        let bears_ours = who.grants.is_some() && !who.foreign;
        bears_ours
            && self.rules_allow(who.user.as_deref(), repository, action)
            && self.judge(who, repository, action) == Verdict::Unauthorised
    }

    /// Whether an identity may read everything, and so see what is said of the whole registry.
    pub(super) fn sees_all(&self, who: &Identity) -> bool {
        let everywhere = |rule: &&Rule| rule.repositories.iter().any(|p| p.0 == "*");
        let user = who.user.as_deref();
        match self.rules.is_empty() {
            true => user.is_some() || !self.credentials,
            false => self.rules.iter().filter(everywhere).any(|rule| {
                let named =
                    |p: &wharf_oci::pattern::Pattern| p.0 == EVERYBODY || user.is_some_and(|u| p.fits(u));
                rule.users.iter().any(named) && rule.actions.contains(&Action::Pull)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> Access {
        Access::new(&Settings::parse(text).unwrap())
    }

    fn user(name: &str) -> Identity {
        Identity { user: Some(name.into()), ..Identity::default() }
    }

    #[test]
    fn without_rules_known_users_may_all() {
        let open = access("{}");
        assert_eq!(open.judge(&Identity::default(), "a", Action::Delete), Verdict::Allowed);
        let closed = access(r#"{"auth": {"htpasswd": "x"}}"#);
        assert_eq!(closed.judge(&Identity::default(), "a", Action::Pull), Verdict::Unauthorised);
        assert_eq!(closed.judge(&user("me"), "a", Action::Delete), Verdict::Allowed);
    }

    #[test]
    fn rules_by_user_repository_and_action() {
        let access = access(
            r#"{"auth": {"htpasswd": "x"}, "access": [
                {"users": ["@anonymous"], "repositories": ["public/*"], "actions": ["pull"]},
                {"users": ["ci-*"], "repositories": ["team/*"], "actions": ["pull", "push"]}]}"#,
        );
        let nobody = Identity::default();
        assert_eq!(access.judge(&nobody, "public/a", Action::Pull), Verdict::Allowed);
        assert_eq!(access.judge(&nobody, "public/a", Action::Push), Verdict::Unauthorised);
        assert_eq!(access.judge(&nobody, "team/a", Action::Pull), Verdict::Unauthorised);
        assert_eq!(access.judge(&user("ci-1"), "team/a/b", Action::Push), Verdict::Allowed);
        assert_eq!(access.judge(&user("ci-1"), "team/a", Action::Delete), Verdict::Denied);
        assert_eq!(access.judge(&user("me"), "public/a", Action::Pull), Verdict::Allowed);
        assert_eq!(access.judge(&user("me"), "team/a", Action::Pull), Verdict::Denied);
        assert!(access.lets_everybody() && !access.sees_all(&user("me")));
    }

    #[test]
    fn a_token_allows_no_more_than_it_says() {
        let access = access(r#"{"auth": {"htpasswd": "x"}}"#);
        let grant = Grant { kind: "repository".into(), name: "a".into(), actions: vec!["pull".into()] };
        let mut who = Identity { grants: Some(vec![grant]), ..user("me") };
        assert_eq!(access.judge(&who, "a", Action::Pull), Verdict::Allowed);
        assert_eq!(access.judge(&who, "a", Action::Push), Verdict::Unauthorised, "a new token may allow it");
        assert_eq!(access.judge(&who, "b", Action::Pull), Verdict::Unauthorised);
        let another =
            |who: &Identity, repository: &str| access.another_token_allows(who, repository, Action::Pull);
        assert!(another(&who, "b") && !another(&who, "a") && !another(&user("me"), "b"));
        assert!(!another(&Identity { user: None, ..who.clone() }, "b"), "nobody may nothing");
        who = Identity { user: None, foreign: true, ..who };
        assert_eq!(access.judge(&who, "a", Action::Pull), Verdict::Allowed, "a trusted server said so");
        assert!(!access.another_token_allows(&who, "b", Action::Pull), "and another time it may say more");
    }
}
