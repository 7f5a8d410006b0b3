//! The token endpoint and a management API of the mock tenant, without the network.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::json;

use super::answer::Answer;
use super::random_hex;
use super::request::Request;

pub const TOKEN_PATH: &str = "/api/v2/tenant/token";
pub const USERS_PATH: &str = "/api/v2/tenant/users";
/// Not of OneAccess: how many requests there were. Not counted itself.
pub const COUNTS_PATH: &str = "/requests";

const LOG_LIMIT: usize = 10_000;

pub struct Token {
    access_token: String,
    id_token: String,
    expires_at: Instant,
}

#[derive(Default)]
pub struct TokenEndpoint {
    pub client_id: String,
    pub client_secret: String,
    pub life: Duration,
    pub delay: Duration,
    pub fresh_token_every_time: bool,
    pub users: u32,
    pub queue: VecDeque<Answer>,
    pub standing: Answer,
    pub log: VecDeque<Request>,
    pub requests: usize,
    pub management_calls: usize,
    pub portal_calls: usize,
    pub current: Option<Token>,
    /// The tokens that the management API accepts, and when each expires.
    pub valid: HashMap<String, Instant>,
}

impl TokenEndpoint {
    /// The next scripted answer, if it is for a connection (or else for a request, if `false`).
    pub fn scripted(&mut self, for_a_connection: bool) -> Option<Answer> {
        let fits = |answer: &Answer| answer.is_for_a_connection() == for_a_connection;
        match self.queue.front() {
            Some(answer) if fits(answer) => self.queue.pop_front(),
            _ => Some(&self.standing).filter(|answer| fits(answer)).cloned(),
        }
    }

    pub fn answer(&mut self, request: Request) -> Answer {
        match request.path.split('?').next() {
            Some(TOKEN_PATH) => self.answer_token_request(request),
            Some(USERS_PATH) => {
                self.management_calls += 1;
                self.users(&request)
            }
            Some(COUNTS_PATH) => self.counts(),
            _ => {
                self.portal_calls += 1;
                Answer::html(404, "<!DOCTYPE html><html><body>Page not found</body></html>")
            }
        }
    }

    pub fn current_token(&self) -> Option<String> {
        let current = self.current.as_ref()?;
        (Instant::now() < current.expires_at).then(|| current.access_token.clone())
    }

    pub fn revoke(&mut self) {
        if let Some(token) = self.current.take() {
            self.valid.remove(&token.access_token);
        }
    }

    pub fn expire_now(&mut self) {
        self.current = None;
        self.valid.clear();
    }

    fn answer_token_request(&mut self, request: Request) -> Answer {
        let scripted = self.scripted(false).unwrap_or_default();
        let answer = self.decide(scripted, &request);
        self.requests += 1;
        if self.log.len() == LOG_LIMIT {
            self.log.pop_front();
        }
        self.log.push_back(request);
        if self.delay.is_zero() {
            return answer;
        }
        answer.delayed(self.delay)
    }

    fn decide(&mut self, answer: Answer, request: &Request) -> Answer {
        match answer {
            Answer::Normal => self.request_error(request).unwrap_or_else(|| self.token()),
            Answer::Delayed(delay, answer) => self.decide(*answer, request).delayed(delay),
            answer => answer,
        }
    }

    fn request_error(&self, request: &Request) -> Option<Answer> {
        if request.method != "POST" {
            let page = "<!DOCTYPE html><html><body>Method not allowed</body></html>";
            return Some(Answer::html(405, page).header("Allow", "POST"));
        }
        let content_type = request.header("Content-Type").unwrap_or_default();
        if !content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            let message = format!("Content type '{content_type}' not supported");
            return Some(Answer::vendor_error("COMMON.0001", &message));
        }
        self.client_error(request).or_else(|| match request.form_field("grant_type") {
            Some(grant_type) if grant_type == "client_credentials" => None,
            Some(grant_type) => {
                let message = format!("Unsupported grant type: {grant_type}");
                Some(oauth_error(400, "unsupported_grant_type", &message))
            }
            None => Some(oauth_error(400, "invalid_request", "Missing grant type")),
        })
    }

    fn client_error(&self, request: &Request) -> Option<Answer> {
        let in_form = (request.form_field("client_id"), request.form_field("client_secret"));
        let (client_id, client_secret) = match (request.header("Authorization"), in_form) {
            (None, (id, secret)) => (id.unwrap_or_default(), secret.unwrap_or_default()),
            (Some(_), (None, None)) => request.basic_credentials().unwrap_or_default(),
            (Some(_), _) => {
                let message = "Credentials both in a header and in the form";
                return Some(oauth_error(400, "invalid_request", message));
            }
        };
        if client_id.starts_with("disabled-") {
            return Some(Answer::vendor_error("APP.0003", "应用已禁用"));
        }
        let known = client_id == self.client_id && client_secret == self.client_secret;
        (!known).then(|| oauth_error(401, "invalid_client", "Bad client credentials"))
    }

    fn token(&mut self) -> Answer {
        let now = Instant::now();
        let kept = self.current.take().filter(|token| now < token.expires_at);
        let token = kept.filter(|_| !self.fresh_token_every_time).unwrap_or_else(|| Token {
            access_token: random_hex(32),
            id_token: format!("{}.{}.{}", random_hex(12), random_hex(48), random_hex(24)),
            expires_at: now + self.life,
        });
        self.valid.retain(|_, expires_at| now < *expires_at);
        self.valid.insert(token.access_token.clone(), token.expires_at);
        let body = json!({
            "access_token": token.access_token,
            "token_type": "bearer",
            "expires_in": (token.expires_at - now).as_secs(),
            "scope": "all",
            "id_token": token.id_token,
        });
        self.current = Some(token);
        Answer::json(200, &body.to_string())
    }

    fn users(&self, request: &Request) -> Answer {
        let authorization = request.header("Authorization").unwrap_or_default();
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        match self.valid.get(token) {
            Some(expires_at) if Instant::now() < *expires_at => self.page_of_users(request),
            _ => oauth_error(400, "invalid_token", &format!("Access token expired: {token}")),
        }
    }

    /// As in the API reference of OneAccess: `offset` is the number of the page, from 0, and `limit` the
    /// number of users on a page, 10 to 100.
    fn page_of_users(&self, request: &Request) -> Answer {
        let number = |name, default| {
            request.query_field(name).map_or(Ok(default), |text| text.parse::<usize>())
        };
        let (Ok(page @ 0..=1_000_000), Ok(size @ 10..=100)) =
            (number("offset", 0), number("limit", 100))
        else {
            let message = "offset must be 0 or more, limit 10 to 100";
            return Answer::vendor_error("COMMON.0001", message);
        };
        let users: Vec<_> = (1..=self.users)
            .skip(page * size)
            .take(size)
            .map(|id| {
                let (user_name, name) = match id {
                    1 => ("zhangsan".into(), "张三".into()),
                    2 => ("lisi".into(), "李四".into()),
                    id => (format!("user{id}"), format!("用户{id}")),
                };
                json!({"user_id": id.to_string(), "user_name": user_name, "name": name})
            })
            .collect();
        Answer::json(200, &json!({"total": self.users, "users": users}).to_string())
    }

    fn counts(&self) -> Answer {
        let (requests, calls) = (self.requests, self.management_calls);
        let body = json!({"token_requests": requests, "management_calls": calls});
        Answer::json(200, &body.to_string())
    }
}

fn oauth_error(status: u16, error: &str, description: &str) -> Answer {
    let body = json!({"error": error, "error_description": description});
    Answer::json(status, &body.to_string())
}
