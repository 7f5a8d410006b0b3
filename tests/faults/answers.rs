//! Web pages in place of an answer.

use super::support::child::in_child;
use super::support::resolver::Resolver;
use super::support::tenant::Answer;
use super::table::{ANSWERS, compare};
use super::{at_port, client_at, failure, tenant};

#[test]
fn messages_about_answers() {
    let resolver = Resolver::compile();
    in_child(
        || resolver.runner(0, "127.0.0.1"),
        || {
            let tenant = tenant();
            let config = client_at(tenant.port(), tenant.ca_file());
            let pages = [
                (404, "404 Not Found"),
                (400, "400 No required SSL certificate was sent"),
                (400, "400 The SSL certificate error"),
                (400, "400 The plain HTTP request was sent to HTTPS port"),
                (400, "400 Request Header Or Cookie Too Large"),
                (403, "Attention Required!"),
                (200, "Login"),
            ];
            let all = pages.map(|(status, title)| {
                let page = format!("<html><head><title>{title}</title></head></html>");
                tenant.always(Answer::html(status, &page));
                at_port(tenant.port(), &failure(&config))
            });
            compare(ANSWERS, &all);
        },
    );
}
