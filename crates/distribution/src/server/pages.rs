//! Pages to look around with a browser: repositories, tags, what an image is made of. No scripts, nothing from elsewhere.

use super::entries::Folder;
use super::reply::{self, Refusal, Reply};
use super::request::Context;
use super::route::{self, Selector};
use super::settings::Action;
use super::{App, blocking};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use http::{HeaderValue, StatusCode, Uri};
use std::fmt::Write;
use std::sync::Arc;
use wharf_oci::manifest::{Descriptor, Document};
use wharf_oci::reference;

/// Lines of a page.
const LINES: usize = 100;
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px solid #ddd}\
    code{font-size:90%;word-break:break-all}.n{text-align:right;white-space:nowrap}";

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let mut value = bytes;
    let mut rest = 0;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000 || unit == "TB" {
            return if unit == "B" { format!("{value} B") } else { format!("{value}.{} {unit}", rest / 100) };
        }
        rest = value % 1000;
        value /= 1000;
    }
    String::new()
}

fn document(title: &str, body: &str) -> Reply {
    let title = escape(title);
    let text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><p><a href=\"/ui/\">Repositories</a></p><h1>{title}</h1>{body}\n"
    );
    let mut answer = reply::bytes(StatusCode::OK, "text/html; charset=utf-8", text.into());
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The page of a path: `/ui/` lists repositories, `/ui/NAME` tags, `/ui/NAME?tag=T` shows one of them.
pub(super) async fn page(context: Context, uri: &Uri) -> Result<Reply, Refusal> {
    let name = uri.path().strip_prefix("/ui").unwrap_or_default().trim_matches('/').to_owned();
    let (query, context) = (uri.query().map(str::to_owned), Arc::new(context));
    let last = route::parameter(query.as_deref(), "last");
    let shown = Arc::clone(&context);
    let app = Arc::clone(&context.app);
    if name.is_empty() {
        return blocking(&app, move |app| repositories(app, &shown, last)).await;
    }
    // Who may not read it learns not that it is there.
    if !reference::is_path(&name) || !context.may(&name, Action::Pull) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository"));
    }
    let tag = route::parameter(query.as_deref(), "tag");
    let found = blocking(&app, move |app| {
        if !app.store.exists(&name)? {
            return Ok(None);
        }
        match tag {
            None => tags(app, &name, last).map(Some),
            Some(tag) => manifest(app, &name, &tag),
        }
    });
    found.await?.ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository or tag")
    })
}

fn more(out: &mut String, path: &str, last: Option<&String>) {
    if let Some(last) = last {
        let _ = write!(out, "<p><a href=\"{path}?last={}\">More</a></p>", escape(&last.replace('/', "%2F")));
    }
}

fn repositories(app: &App, context: &Context, last: Option<String>) -> wharf_model::Result<Reply> {
    let (names, next) = super::lists::readable(app, context, last, LINES)?;
    let mut body = String::from("<table>");
    for name in &names {
        let name = escape(name);
        let _ = write!(body, "<tr><td><a href=\"/ui/{name}\">{name}</a></td></tr>");
    }
    body.push_str("</table>");
    if names.is_empty() {
        body.push_str("<p>There is nothing here yet.</p>");
    }
    more(&mut body, "/ui/", next.as_ref());
    Ok(document("Repositories", &body))
}

fn tags(app: &App, name: &str, last: Option<String>) -> wharf_model::Result<Reply> {
    let mut names = app.store.entries.page(Folder::Tags(name), last.as_deref(), LINES + 1)?;
    let next = (names.len() > LINES).then(|| names[LINES - 1].clone());
    names.truncate(LINES);
    let path = format!("/ui/{}", escape(name));
    let mut body = String::from("<table><tr><th>Tag<th>Digest<th class=n>Size</tr>");
    for tag in &names {
        let Some(stored) = app.store.manifest(name, &Selector::Tag(tag.clone()))? else { continue };
        let total = Document::parse(&stored.body, Some(&stored.media_type)).map(|d| total(&d));
        let total = total.map_or_else(|_| "?".into(), size);
        let tag = escape(tag);
        let _ = write!(
            body,
            "<tr><td><a href=\"{path}?tag={tag}\">{tag}</a><td><code>{}</code><td class=n>{total}</tr>",
            stored.digest
        );
    }
    body.push_str("</table>");
    more(&mut body, &path, next.as_ref());
    Ok(document(name, &body))
}

/// Bytes of an image; of an index those of its manifests, whose layers may be shared.
fn total(document: &Document) -> u64 {
    match document {
        Document::Manifest(m) => m.layers.iter().map(|l| l.size).sum::<u64>() + m.config.size,
        Document::Index(i) => i.manifests.iter().map(|m| m.size).sum(),
    }
}

fn manifest(app: &App, name: &str, tag: &str) -> wharf_model::Result<Option<Reply>> {
    let selector = match tag.parse() {
        Ok(digest) => Selector::Digest(digest),
        Err(_) if reference::is_tag(tag) => Selector::Tag(tag.to_owned()),
        Err(_) => return Ok(None),
    };
    let Some(stored) = app.store.manifest(name, &selector)? else { return Ok(None) };
    let mut body = format!("<p><code>{}</code><br>{}</p>", stored.digest, escape(&stored.media_type));
    match Document::parse(&stored.body, Some(&stored.media_type)) {
        Ok(Document::Manifest(m)) => {
            let _ =
                write!(body, "<p>{}</p>", size(m.layers.iter().map(|l| l.size).sum::<u64>() + m.config.size));
            body.push_str("<table><tr><th>Part<th>Digest<th class=n>Size</tr>");
            line(&mut body, &m.config, None);
            m.layers.iter().for_each(|layer| line(&mut body, layer, None));
        }
        Ok(Document::Index(i)) => {
            body.push_str("<table><tr><th>Platform<th>Digest<th class=n>Size</tr>");
            i.manifests.iter().for_each(|m| line(&mut body, m, Some(name)));
        }
        Err(_) => body.push_str("<table>"),
    }
    body.push_str("</table>");
    Ok(Some(document(&format!("{name}:{tag}"), &body)))
}

fn line(out: &mut String, part: &Descriptor, repository: Option<&str>) {
    let what = part.platform.as_ref().map_or_else(|| part.media_type.clone(), ToString::to_string);
    let (what, digest) = (escape(&what), &part.digest);
    let shown = match repository {
        Some(name) => format!("<a href=\"/ui/{}?tag={digest}\"><code>{digest}</code></a>", escape(name)),
        None => format!("<code>{digest}</code>"),
    };
    let _ = write!(out, "<tr><td>{what}<td>{shown}<td class=n>{}</tr>", size(part.size));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_text() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1234), "1.2 kB");
        assert_eq!(size(5_678_000_000), "5.6 GB");
        assert_eq!(escape("<a href=\"'&"), "&lt;a href=&quot;&#39;&amp;");
    }
}
