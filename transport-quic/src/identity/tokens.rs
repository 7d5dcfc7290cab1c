//! One-time tokens: what a process shows that joins without having been launched (protocol rule 23).
//!
//! A token names the mesh and pins its authority by a fingerprint, so that a newcomer shows its secret's proof to nobody else. The secret itself
//! never travels: the newcomer's request is proved with a key made of it, and the authority keeps that key, in `ca-tokens`, until the
//! token expires. The first key that a token admits is the only one: that may come again, and gets the same id.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use actogen_core::id::ContextId;
use actogen_runtime::names::{ContextNames, Holder};
use zeroize::Zeroizing;

use super::mesh::MeshName;

/// What begins a token's text.
const PREFIX: &str = "actogen1";

/// Separates the key that is made of a secret from whatever else may be made of it.
const KEY_CONTEXT: &str = "actogen 2026-11 join token";

/// Tokens that an authority keeps.
const MOST: usize = 10_000;

/// The longest that a token may be good.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        number(text).map(Self)
    }
}

/// A one-time token. Its text, which [`fmt::Display`] gives, is a secret: hand it over by standard input or a file.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    mesh: MeshName,
    authority: [u8; 32],
    id: TokenId,
    secret: Zeroizing<[u8; 16]>,
}

/// A text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no token: a token is a line that begins with `{PREFIX}:`, as `actogen token create` prints it"
)]
pub struct TokenError;

impl JoinToken {
    /// The mesh that it is for.
    pub fn mesh(&self) -> &MeshName {
        &self.mesh
    }

    /// Which one it is: what it is revoked by.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The BLAKE3 hash of the authority's certificate.
    pub(crate) fn authority(&self) -> &[u8; 32] {
        &self.authority
    }

    /// What proves requests.
    pub(crate) fn key(&self) -> [u8; 32] {
        blake3::derive_key(KEY_CONTEXT, &*self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mesh, authority, id, secret } = self;
        write!(f, "{PREFIX}:{}:{id}:{}:{mesh}", hex(authority), hex(&**secret))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("mesh", &self.mesh)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().splitn(5, ':');
        let mut next = || parts.next().ok_or(TokenError);
        if next()? != PREFIX {
            return Err(TokenError);
        }
        let authority = unhex(next()?)?;
        let id = next()?.parse()?;
        let secret = Zeroizing::new(unhex(next()?)?);
        let mesh = next()?.parse().map_err(|_| TokenError)?;
        Ok(Self { mesh, authority, id, secret })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], TokenError> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(TokenError);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| TokenError)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| TokenError)?;
    }
    Ok(bytes)
}

fn number(text: &str) -> Result<u64, TokenError> {
    unhex(text).map(u64::from_be_bytes)
}

/// Whom a token has admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Admitted {
    /// The BLAKE3 hash of the public key.
    key: [u8; 32],
    context: ContextId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    key: Zeroizing<[u8; 32]>,
    /// In seconds since 1970, by the authority's own clock.
    expires: u64,
    /// What the context is to be named, and what becomes of others who have such a name.
    names: ContextNames,
    holder: Holder,
    admitted: Option<Admitted>,
}

/// The tokens that an authority has given out and that have not expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens(BTreeMap<TokenId, Given>);

/// Why a token admits nobody, for the authority's log: the newcomer learns less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no such token: it was never given, was revoked, or has expired")]
    Unknown,
    #[error("the request is not proved by the token's secret")]
    Unproved,
    #[error("the token has admitted another key")]
    Spent,
}

impl Tokens {
    /// Gives a token out, good for this long. `None` when as many are kept as may.
    pub(super) fn give(
        &mut self,
        mesh: MeshName,
        authority: [u8; 32],
        now: u64,
        good_for: Duration,
    ) -> Option<JoinToken> {
        self.forget_expired(now);
        if self.0.len() >= MOST {
            return None;
        }
        let (mut id, mut secret) = ([0; 8], Zeroizing::new([0; 16]));
        getrandom::fill(&mut id).expect("the operating system gives randomness");
        getrandom::fill(&mut *secret).expect("the operating system gives randomness");
        let token = JoinToken { mesh, authority, id: TokenId(u64::from_be_bytes(id)), secret };
        let expires = now + good_for.min(LONGEST).as_secs();
        let key = Zeroizing::new(token.key());
        let (names, holder) = (ContextNames::default(), Holder::Stays);
        let given = Given { key, expires, names, holder, admitted: None };
        self.0.insert(token.id, given);
        Some(token)
    }

    /// Notes what whomever a token admits is to be named.
    pub(super) fn name(&mut self, id: TokenId, names: &ContextNames, holder: Holder) {
        if let Some(given) = self.0.get_mut(&id) {
            given.names = names.clone();
            given.holder = holder;
        }
    }

    /// What whomever a token admits is to be named.
    pub(super) fn names(&self, id: TokenId) -> (ContextNames, Holder) {
        match self.0.get(&id) {
            Some(given) => (given.names.clone(), given.holder),
            None => (ContextNames::default(), Holder::Stays),
        }
    }

    pub(super) fn revoke(&mut self, id: TokenId) -> bool {
        self.0.remove(&id).is_some()
    }

    pub(super) fn forget_expired(&mut self, now: u64) {
        self.0.retain(|_, given| now < given.expires);
    }

    /// Whether a token admits a request: which context it is then, if the same key was admitted before.
    pub(super) fn check(
        &self,
        id: TokenId,
        request: &[u8],
        proof: &[u8; 32],
        public_key: &[u8],
        now: u64,
    ) -> Result<Option<ContextId>, Refused> {
        let given = self.0.get(&id).filter(|given| now < given.expires).ok_or(Refused::Unknown)?;
        // Compared as hashes are, in a time that tells nothing.
        if blake3::keyed_hash(&given.key, request) != blake3::Hash::from_bytes(*proof) {
            return Err(Refused::Unproved);
        }
        match &given.admitted {
            None => Ok(None),
            Some(admitted) if blake3::hash(public_key) == admitted.key => {
                Ok(Some(admitted.context))
            }
            Some(_) => Err(Refused::Spent),
        }
    }

    /// Binds a token to the key that it has admitted.
    pub(super) fn bind(&mut self, id: TokenId, public_key: &[u8], context: ContextId) {
        if let Some(given) = self.0.get_mut(&id) {
            let key = *blake3::hash(public_key).as_bytes();
            given.admitted.get_or_insert(Admitted { key, context });
        }
    }

    /// One line for each: id, key, expiry, names if there are any, and whom it has admitted.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let line = |(id, given): (&TokenId, &Given)| {
            let admitted = match &given.admitted {
                Some(Admitted { key, context }) => format!(" {} {}", hex(key), context.0),
                None => String::new(),
            };
            let names = match (given.names.as_slice(), given.holder) {
                ([], _) => String::new(),
                (names, Holder::Stays) => format!(" {NAMES}{}", names.join(",")),
                (names, Holder::Revoked) => format!(" {TAKES}{}", names.join(",")),
            };
            format!("{id} {} {}{names}{admitted}\n", hex(&*given.key), given.expires)
        };
        Zeroizing::new(self.0.iter().map(line).collect())
    }

    /// Reads what [`Self::to_text`] wrote; the number of a line that is no such line else.
    pub(super) fn from_text(text: &str) -> Result<Self, usize> {
        let line = |(place, line): (usize, &str)| {
            let parsed = || {
                let mut words = line.split(' ').peekable();
                let id = words.next()?.parse().ok()?;
                let key = Zeroizing::new(unhex(words.next()?).ok()?);
                let expires = words.next()?.parse().ok()?;
                let (names, holder) = match words.peek().and_then(|word| read_names(word)) {
                    Some(read) => {
                        words.next();
                        read
                    }
                    None => (ContextNames::default(), Holder::Stays),
                };
                let admitted = match (words.next(), words.next()) {
                    (None, _) => None,
                    (Some(key), Some(context)) => Some(Admitted {
                        key: unhex(key).ok()?,
                        context: ContextId(context.parse().ok()?),
                    }),
                    (Some(_), None) => return None,
                };
                words
                    .next()
                    .is_none()
                    .then_some((id, Given { key, expires, names, holder, admitted }))
            };
            parsed().ok_or(place + 1)
        };
        text.lines().enumerate().map(line).collect::<Result<_, _>>().map(Self)
    }
}

/// What stands before names in a token's line, and before those that are taken from whoever has them.
const NAMES: &str = "names:";
const TAKES: &str = "takes:";

fn read_names(word: &str) -> Option<(ContextNames, Holder)> {
    let (names, holder) = match (word.strip_prefix(NAMES), word.strip_prefix(TAKES)) {
        (Some(names), _) => (names, Holder::Stays),
        (None, names) => (names?, Holder::Revoked),
    };
    Some((ContextNames::new(names.split(',')).ok()?, holder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn given(good_for: Duration) -> (Tokens, JoinToken) {
        let mut tokens = Tokens::default();
        let token = tokens.give("a.test".parse().unwrap(), [7; 32], NOW, good_for).unwrap();
        (tokens, token)
    }

    fn proof(token: &JoinToken, request: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&token.key(), request).as_bytes()
    }

    #[test]
    fn a_token_is_its_text_and_prints_no_secret() {
        let (_, token) = given(Duration::from_secs(60));
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!("{text}\n").parse(), Ok(token.clone()));
        let secret = text.split(':').nth(3).unwrap();
        assert!(!format!("{token:?}").contains(secret));
        for bad in ["", "actogen1", &text[1..], &text[..40], &text.replace("actogen1", "actogen2")]
        {
            assert_eq!(bad.parse::<JoinToken>(), Err(TokenError), "{bad}");
        }
    }

    #[test]
    fn r23_a_token_admits_one_key_and_that_again() {
        let (mut tokens, token) = given(Duration::from_secs(60));
        let proof = proof(&token, b"request");
        let check = |tokens: &Tokens, key: &[u8], now| {
            tokens.check(token.id(), b"request", &proof, key, now)
        };
        assert_eq!(check(&tokens, b"mine", NOW), Ok(None));
        tokens.bind(token.id(), b"mine", ContextId(5));
        assert_eq!(check(&tokens, b"mine", NOW), Ok(Some(ContextId(5))));
        assert_eq!(check(&tokens, b"other", NOW), Err(Refused::Spent));
        assert_eq!(check(&tokens, b"mine", NOW + 60), Err(Refused::Unknown));
        // It is still known as spent, and nobody else is bound.
        tokens.bind(token.id(), b"other", ContextId(6));
        assert_eq!(check(&tokens, b"other", NOW), Err(Refused::Spent));
        assert!(tokens.revoke(token.id()) && !tokens.revoke(token.id()));
        assert_eq!(check(&tokens, b"mine", NOW), Err(Refused::Unknown));
    }

    #[test]
    fn r23_a_proof_is_of_one_request() {
        let (tokens, token) = given(Duration::from_secs(60));
        let proof = proof(&token, b"request");
        let checked = tokens.check(token.id(), b"another", &proof, b"mine", NOW);
        assert_eq!(checked, Err(Refused::Unproved));
    }

    #[test]
    fn tokens_survive_on_the_disk_until_they_expire() {
        let (mut tokens, first) = given(Duration::from_secs(60));
        let second = tokens.give("a.test".parse().unwrap(), [7; 32], NOW, LONGEST * 9).unwrap();
        tokens.bind(second.id(), b"mine", ContextId(9));
        let names = ContextNames::new(["node-7", "west.2"]).unwrap();
        tokens.name(first.id(), &names, Holder::Stays);
        tokens.name(second.id(), &names, Holder::Revoked);
        let read = Tokens::from_text(&tokens.to_text()).unwrap();
        assert_eq!(read, tokens);
        assert_eq!(read.names(second.id()), (names, Holder::Revoked));
        tokens.forget_expired(NOW + 60);
        assert!(tokens.0.contains_key(&second.id()) && !tokens.0.contains_key(&first.id()));
        tokens.forget_expired(NOW + LONGEST.as_secs());
        assert!(tokens.0.is_empty());
        assert_eq!(Tokens::from_text("x"), Err(1));
        let line = "0123456789abcdef ".to_owned() + &"0".repeat(64) + " 9 names:";
        assert_eq!(Tokens::from_text(&format!("{line}A\n")), Err(1));
        assert!(Tokens::from_text(&format!("{line}a,b\n")).is_ok());
        let text = second.id().to_string();
        assert_eq!(Tokens::from_text(&format!("{text} 00 12\n")), Err(1));
    }
}
