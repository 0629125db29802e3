//! Query parameters and JSON bodies as Docker reads them.

use crate::error::{ApiError, ApiResult};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// A JSON body is at most this long; Docker's own limit is 4 MiB for create.
const BODY_LIMIT: usize = 8 << 20;

/// The query of a request, in order, with repetitions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value; empty reads as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Every value.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str()).collect()
    }

    /// Docker's booleans: anything but these words is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|v| !matches!(v.trim().to_ascii_lowercase().as_str(), "0" | "no" | "false" | "none"))
    }

    /// As [`Params::flag`], true when absent.
    pub(crate) fn flag_or_true(&self, name: &str) -> bool {
        self.get(name).is_none() || self.flag(name)
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> ApiResult<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "invalid value {text:?} of parameter {name}: a number is expected"
                ))
            }),
        }
    }

    /// A point in time: seconds with a fraction, or RFC 3339. Nanoseconds since the epoch.
    pub(crate) fn time(&self, name: &str) -> ApiResult<Option<i128>> {
        if self.get(name) == Some("0") { Ok(None) } else { self.moment(name) }
    }

    /// As [`Params::time`], 0 being 1970 and not no time.
    pub(crate) fn moment(&self, name: &str) -> ApiResult<Option<i128>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time(text).map(Some).ok_or_else(|| {
            ApiError::bad_request(format!("invalid value {text:?} of parameter {name}: a time is expected"))
        })
    }

    /// The `filters` parameter.
    pub(crate) fn filters(&self, known: &[&str]) -> ApiResult<Filters> {
        Filters::parse(self.get("filters").unwrap_or_default(), known)
    }
}

fn parse_time(text: &str) -> Option<i128> {
    if let Some(ns) = wharf_engine::clock::parse_rfc3339(text) {
        return Some(ns);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some(i128::from(seconds) * 1_000_000_000 + digits.parse::<i128>().ok()?)
}

/// A point in time, or how long ago it was (`24h`, `1h30m`).
fn parse_until(text: &str) -> Option<i128> {
    match parse_duration(text) {
        Some(ago) => Some(wharf_engine::clock::now_ns() - ago),
        None => parse_time(text).or_else(|| parse_date(text)),
    }
}

/// `2026-01-31` or `2026-01-31T10:00:00`, UTC.
fn parse_date(text: &str) -> Option<i128> {
    let whole = if text.contains('T') { format!("{text}Z") } else { format!("{text}T00:00:00Z") };
    wharf_engine::clock::parse_rfc3339(&whole)
}

/// A duration as Go writes it, in nanoseconds.
fn parse_duration(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += number * unit;
        rest = &after[end..];
    }
    // 292 years and no more, as in Go.
    (!text.is_empty() && total <= i64::MAX as f64).then_some(total as i128)
}

/// Filters: each name with the values of which one must match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// `{"name":["a"]}`, or the older `{"name":{"a":true}}`.
    pub(crate) fn parse(text: &str, known: &[&str]) -> ApiResult<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let invalid = || ApiError::bad_request("invalid filter");
        let value: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).map_err(|_| invalid())?;
        let mut filters = BTreeMap::new();
        for (name, values) in value {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::bad_request(format!("invalid filter '{name}'")));
            }
            let list = match values {
                serde_json::Value::Array(list) => list
                    .into_iter()
                    .map(|v| v.as_str().map(str::to_owned).ok_or_else(invalid))
                    .collect::<Result<Vec<_>, _>>()?,
                serde_json::Value::Object(map) => map.into_iter().map(|(key, _)| key).collect(),
                _ => return Err(invalid()),
            };
            filters.insert(name, list);
        }
        Ok(Self(filters))
    }

    /// Adds a value of a filter.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().push(value.to_owned());
    }

    /// The values of a filter; empty when it is not set.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// A filter that says yes or no; `None` when it is not set.
    pub(crate) fn flag(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.values(name) {
            [] => Ok(None),
            [value] if matches!(value.as_str(), "1" | "true") => Ok(Some(true)),
            [value] if matches!(value.as_str(), "0" | "false") => Ok(Some(false)),
            values => Err(ApiError::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" ")))),
        }
    }

    /// As [`Filters::flag`], for a filter that Docker reads as Go reads a boolean.
    pub(crate) fn boolean(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.values(name) {
            [] => Ok(None),
            [value] => match value.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Some(true)),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Some(false)),
                other => Err(ApiError::bad_request(format!(
                    "invalid filter '{name}': strconv.ParseBool: parsing {other:?}: invalid syntax"
                ))),
            },
            values => Err(ApiError::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" ")))),
        }
    }

    /// The filter `until`: what was made before that time, in nanoseconds since the epoch.
    pub(crate) fn until(&self) -> ApiResult<Option<i128>> {
        self.time("until")
    }

    /// A filter that is a time, or how long ago that was.
    pub(crate) fn time(&self, name: &str) -> ApiResult<Option<i128>> {
        match self.values(name) {
            [] => Ok(None),
            [value] => parse_until(value).map(Some).ok_or_else(|| {
                ApiError::bad_request(format!("failed to parse value as time or duration: {value:?}"))
            }),
            _ => Err(ApiError::bad_request(format!("more than one {name} filter specified"))),
        }
    }

    /// Each value of a filter must be one of those `known`; `what` they are is told else.
    pub(crate) fn one_of(&self, name: &str, what: &str, known: &[&str]) -> ApiResult<()> {
        let Some(other) = self.values(name).iter().find(|v| !known.contains(&v.as_str())) else {
            return Ok(());
        };
        Err(ApiError::bad_request(format!(
            "invalid filter '{name}={other}': invalid value for {what} ({other}): must be one of {}",
            known.join(", ")
        )))
    }

    /// Whether a filter is not set, or one of its values satisfies.
    pub(crate) fn allows(&self, name: &str, satisfies: impl FnMut(&String) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().any(satisfies)
    }

    /// `label=key` and `label=key=value`; all must hold.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(holds) && !self.values("label!").iter().any(holds)
    }
}

/// Reads a whole JSON body. Unknown fields are ignored; an empty body reads as `{}`.
pub(crate) async fn json<T: DeserializeOwned>(body: Body) -> ApiResult<T> {
    let bytes = bytes(body).await?;
    parse(if bytes.is_empty() { b"{}" } else { &bytes })
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> ApiResult<T> {
    use serde_json::error::Category;
    serde_json::from_slice(text).map_err(|e| match e.classify() {
        Category::Syntax if e.to_string().starts_with("trailing characters") => {
            ApiError::bad_request("unexpected content after JSON")
        }
        _ => ApiError::bad_request(format!("invalid JSON: {e}")),
    })
}

/// A JSON body that must be there, and be called JSON where it is called anything.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or("?").to_owned());
        let is_json = |kind: &str| {
            kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json"))
        };
        if let Some(kind) = kind.filter(|kind| !is_json(kind)) {
            return Err(ApiError::bad_request(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        let bytes = bytes(request.into_body()).await?;
        if bytes.is_empty() {
            return Err(ApiError::bad_request("invalid JSON: got EOF while reading request body"));
        }
        parse(&bytes).map(Self)
    }
}

pub(crate) async fn bytes(body: Body) -> ApiResult<Bytes> {
    axum::body::to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|e| ApiError::bad_request(format!("read the body (at most {BODY_LIMIT} bytes): {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_booleans() {
        let p = Params::parse("a=1&b=0&c=False&d=yes&e=");
        assert!(p.flag("a") && !p.flag("b") && !p.flag("c") && p.flag("d") && !p.flag("e") && !p.flag("f"));
        assert!(p.flag_or_true("f") && !p.flag_or_true("b"));
    }

    #[test]
    fn filters_in_both_forms() {
        for text in [r#"{"label":["a=b"],"name":["x"]}"#, r#"{"label":{"a=b":true},"name":{"x":true}}"#] {
            let filters = Filters::parse(text, &["label", "name"]).unwrap();
            assert_eq!(filters.values("name"), ["x"]);
            assert!(filters.labels(&BTreeMap::from([("a".into(), "b".into())])));
            assert!(!filters.labels(&BTreeMap::new()));
        }
        assert!(Filters::parse(r#"{"nope":["x"]}"#, &["name"]).is_err());
        assert!(Filters::parse("[", &["name"]).is_err());
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("1.5"), Some(1_500_000_000));
        assert_eq!(parse_time("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(parse_time("soon"), None);
    }

    #[test]
    fn until_is_a_time_or_a_duration() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("0.5s"), Some(500_000_000));
        assert_eq!((parse_duration(""), parse_duration("10"), parse_duration("h")), (None, None, None));
        assert_eq!(parse_until("1970-01-02"), Some(86_400_000_000_000));
        assert_eq!((parse_until("9999999999h"), parse_time("170141183460469231731687")), (None, None));
        assert!(parse_until("1h").unwrap() < wharf_engine::clock::now_ns());
        let filters = |text: &str| Filters::parse(text, &["until", "dangling"]).unwrap();
        assert!(filters(r#"{"until":["x"]}"#).until().is_err());
        assert_eq!(filters(r#"{"dangling":["true"]}"#).flag("dangling").unwrap(), Some(true));
        assert!(filters(r#"{"dangling":["x"]}"#).flag("dangling").is_err());
    }
}
