//! What processes share: a token, why a request failed, or both; as JSON.

use std::time::Duration;

use zeroize::Zeroizing;

use super::clocks::{Clocks, Stamp, ms, stamp};
use crate::error::{Error, ErrorKind};
use crate::os::Now;
use crate::token::Token;

/// Processes share a failure for at most this long.
const MAX_FAILURE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub token: Option<SharedToken>,
    pub failure: Option<SharedFailure>,
}

/// A token, with what the process that requested it decided about its refresh. If each process drew a
/// refresh window of its own, of many processes one would always draw nearly the largest.
#[derive(Clone, Debug)]
pub(crate) struct SharedToken {
    pub token: Token,
    pub life: Duration,
    /// When the request was sent that returned it last.
    pub sent: Now,
    /// The same by the clocks of the process that sent it: two answers never have the same one.
    pub answer: Stamp,
    pub expiry: Now,
    pub refresh_window: Duration,
    /// How long after its expiry another one is requested from a server that repeats it.
    pub wait_after_expiry: Duration,
    /// Whether the server has returned it more than once.
    pub repeated: bool,
    pub exchange_time: Duration,
}

/// What the server said instead of a token, and until when it counts.
#[derive(Clone, Debug)]
pub(crate) struct SharedFailure {
    pub error: Error,
    pub until: Duration,
    /// How many refreshes in a row have failed like this; the next wait follows from it.
    pub in_a_row: u32,
}

impl SharedFailure {
    /// `None` for a failure that may be that of this process alone: it could not connect, for example.
    pub fn new(error: &Error, until: Duration, in_a_row: u32) -> Option<SharedFailure> {
        is_shareable(error.kind()).then_some(())?;
        let until = until.min(error.occurred().boot + MAX_FAILURE);
        Some(SharedFailure { error: error.clone(), until, in_a_row })
    }
}

type StoredToken = (
    String,         // access token
    Option<String>, // scope
    Option<String>, // id_token
    u64,            // life, in milliseconds as all that follow
    Stamp,          // sent
    Stamp,          // expiry
    u64,            // refresh window
    u64,            // wait after expiry
    bool,           // repeated
    u64,            // exchange time
);
type StoredFailure = (
    String,         // kind
    String,         // message
    u16,            // HTTP status
    Option<String>, // vendor code
    bool,           // retryable
    Stamp,          // occurred
    Stamp,          // until
    u32,            // in a row
);
type Stored = (Option<String>, Option<StoredToken>, Option<StoredFailure>);

impl Entry {
    pub fn encode(&self, boot_id: Option<&str>, now: Now) -> Zeroizing<Vec<u8>> {
        let token = self.token.as_ref().map(|shared| {
            let token = &shared.token;
            (
                token.access_token(),
                token.scope(),
                token.id_token(),
                ms(shared.life),
                shared.answer,
                stamp(shared.expiry),
                ms(shared.refresh_window),
                ms(shared.wait_after_expiry),
                shared.repeated,
                ms(shared.exchange_time),
            )
        });
        let failure = self.failure.as_ref().and_then(|SharedFailure { error, until, in_a_row }| {
            let rest = until.saturating_sub(now.boot);
            Some((
                kind_name(error.kind())?,
                error.to_string(),
                error.http_status(),
                error.vendor_code(),
                error.is_retryable(),
                stamp(error.occurred()),
                stamp(Now { boot: *until, wall: now.wall + rest }),
                *in_a_row,
            ))
        });
        // All of it from the start: a buffer that grows leaves a copy of the token behind. A
        // character takes up to six bytes in JSON.
        let texts = self.token.as_ref().map_or(0, |shared| shared.token.text_length());
        let mut json = Zeroizing::new(Vec::with_capacity(6 * texts + (16 << 10)));
        serde_json::to_writer(&mut *json, &(boot_id, token, failure)).expect("JSON in memory");
        json
    }

    /// `None` if it is not an entry, or is from the future.
    pub fn decode(json: &[u8], boot_id: Option<&str>, now: Now) -> Option<Entry> {
        let (written_in, token, failure): Stored = serde_json::from_slice(json).ok()?;
        let clocks = Clocks::new(now, boot_id, written_in.as_deref());
        let token = match token {
            Some(stored) => Some(self::token(&clocks, stored)?),
            None => None,
        };
        Some(Entry { token, failure: failure.and_then(|stored| self::failure(&clocks, stored)) })
    }
}

fn token(clocks: &Clocks, stored: StoredToken) -> Option<SharedToken> {
    let (access_token, scope, id_token, life, sent, expiry, window, wait, repeated, exchange) =
        stored;
    let access_token = Zeroizing::new(access_token);
    let [scope, id_token] = [scope, id_token].map(|text| text.map(Zeroizing::new));
    let is_token = access_token.bytes().all(|byte| byte.is_ascii_graphic());
    let life = Duration::from_millis(life);
    let left = clocks.left(expiry).min(life);
    let Now { boot, wall } = clocks.now;
    is_token.then_some(SharedToken {
        token: Token::new(
            &access_token,
            scope.as_ref().map(|text| text.as_str()),
            id_token.as_ref().map(|text| text.as_str()),
        ),
        life,
        sent: clocks.at_age(clocks.age(sent)?),
        answer: sent,
        expiry: Now { boot: boot + left, wall: wall + left },
        refresh_window: Duration::from_millis(window),
        wait_after_expiry: Duration::from_millis(wait),
        repeated,
        exchange_time: Duration::from_millis(exchange),
    })
}

fn failure(clocks: &Clocks, stored: StoredFailure) -> Option<SharedFailure> {
    let (kind, message, http_status, vendor_code, retryable, occurred, until, in_a_row) = stored;
    let age = clocks.age(occurred)?;
    let left = clocks.left(until);
    let error = Error::new(named_kind(&kind)?, message)
        .with_answer(http_status, vendor_code.as_deref())
        .with_retryable(retryable)
        .with_occurred(clocks.at_age(age))
        .with_retry_after(age + left);
    Some(SharedFailure { error, until: clocks.now.boot + left, in_a_row })
}

const SHARED_KINDS: [(ErrorKind, &str); 3] = [
    (ErrorKind::Denied, "denied"),
    (ErrorKind::Throttled, "throttled"),
    (ErrorKind::Server, "server"),
];

/// Whether a failure of this kind is what the server said, and so concerns all processes.
pub(crate) fn is_shareable(kind: ErrorKind) -> bool {
    kind_name(kind).is_some()
}

fn kind_name(kind: ErrorKind) -> Option<&'static str> {
    SHARED_KINDS.iter().find(|(shared, _)| *shared == kind).map(|(_, name)| *name)
}

fn named_kind(name: &str) -> Option<ErrorKind> {
    SHARED_KINDS.iter().find(|(_, shared)| *shared == name).map(|(kind, _)| *kind)
}

#[cfg(test)]
#[path = "../../tests/store/entry.rs"]
mod tests;
