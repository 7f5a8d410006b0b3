//! Web pages that a proxy, a firewall or a portal sends instead of a token.

/// Titles and known phrases stand at the start of a page; the rest is not searched.
const MAX_PAGE_HEAD_BYTES: usize = 64 << 10;

const FIREWALL: &str = "a web application firewall before OneAccess blocked the request";
const LONG_HEADER: &str = "the request headers are too long for this server: use shorter extra \
     headers, and no Basic authentication with a long secret";

/// Phrases of well-known pages, in lower case, and what to do about them.
const KNOWN_PAGES: [(&[&str], &str); 6] = [
    (
        &["no required ssl certificate"],
        "the server requires a client certificate: set client_certificate_file",
    ),
    (
        &["ssl certificate error"],
        "the server does not accept the client certificate (client_certificate_file): check that \
         it has not expired and is signed by a CA that the server trusts",
    ),
    (
        &["plain http request was sent to https port", "speaking plain http"],
        "this port expects TLS: use https:// in the endpoint",
    ),
    (&["header or cookie too large", "header fields too large"], LONG_HEADER),
    (
        &["web application firewall", "request rejected", "attention required!", "访问被拦截"],
        FIREWALL,
    ),
    (
        &["type=\"password\"", "type='password'", "<title>login", "<title>sign in", "<title>登录"],
        "this is a login page: check the endpoint, and that no proxy or portal before OneAccess \
         requires a login",
    ),
];

/// Whether a body is a web page. No JSON starts with `<`.
pub(super) fn is_page(body: &str) -> bool {
    body.starts_with('<')
}

/// The title of a page, with its entities decoded; not redacted yet.
pub(super) fn title(page: &str) -> Option<String> {
    let head = head(page);
    // ASCII only, so that the indices are valid in `head`, too.
    let lower = head.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag + lower[tag..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let title = head[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let decoded = entities.iter().fold(title, |title, (name, text)| title.replace(name, text));
    (!decoded.is_empty()).then_some(decoded)
}

/// What to do about a response that is known by its status or by a phrase on its page.
pub(super) fn advice(status: u16, page: &str) -> Option<&'static str> {
    let head = head(page).to_ascii_lowercase();
    let known =
        KNOWN_PAGES.iter().find(|(phrases, _)| phrases.iter().any(|phrase| head.contains(phrase)));
    match (known, status) {
        (Some((_, advice)), _) => Some(advice),
        (None, 418) => Some(FIREWALL),
        (None, 431) => Some(LONG_HEADER),
        _ => None,
    }
}

/// The start of a page, cut between two characters.
fn head(page: &str) -> &str {
    let cuts = page.char_indices().map(|(at, _)| at).chain([page.len()]);
    let end = cuts.take_while(|at| *at <= MAX_PAGE_HEAD_BYTES).last().unwrap_or_default();
    &page[..end]
}
