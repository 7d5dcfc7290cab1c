//! The mesh's authority: the key that issues every context's certificate. Only the root holds it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actogen_core::id::ContextId;
use actogen_runtime::{
    names::{ContextNames, Holder},
    transport::{Authority, IdentityError},
};
use rcgen::{
    BasicConstraints, Certificate, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};

use super::{
    folder::{
        AUTHORITY_KEY_FILE, CERTIFICATE_FILE, Folder, FolderError, KEY_FILE, NAMES_FILE,
        REVOKED_FILE, ROOTS_FILE, STATE_FILE, TOKENS_FILE,
    },
    issuing::{AUTHORITY_LIFETIME, authority_name, dated, new_key, read_request, uri},
    judge::{Judge, Roots, When},
    mesh::{MeshName, MeshNameError},
    naming::Named,
    node::{JoinKey, NodeIdentity},
    revocations::{Revocations, Unrevocable},
    time::{Clock, MachineClock, MeshTime},
    tokens::{JoinToken, TokenId, Tokens},
};

/// How long certificates live that are issued over the network: they are renewed at half of it (protocol rule 25).
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long certificates in PEM folders live unless the caller says otherwise: nobody renews them in passing.
pub const PEM_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// The authority of one mesh: its name, its root certificate, the key that issues certificates, and what has been reserved.
///
/// A freshly [generated](Self::generate) authority lives in memory alone and stores nothing: when the process ends, so does the
/// mesh. One that has been [saved](Self::save) or [loaded](Self::load) keeps its reservations in its folder, and gives no id or
/// term out twice (protocol rule 24).
pub struct MeshAuthority {
    mesh: MeshName,
    roots: Roots,
    roots_pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// Of certificates issued over the network.
    pub(super) lifetime: Duration,
    /// The mesh's time is what it says.
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
}

/// What has been given out, and where that is written down.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What is on the disk, as far as this process has seen.
    reserved: Reserved,
    /// What the root has last been told, and so counts from.
    told: Reserved,
    /// Those of an authority without a folder; with one they are there.
    tokens: Tokens,
    /// As the tokens.
    pub(super) revoked: Revocations,
    /// As it was last read from the folder, where there is one.
    pub(super) named: Named,
    pub(super) folder: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reserved {
    term: u64,
    ids_below: u64,
}

impl Default for Reserved {
    /// Id 0 is the root's own from the start.
    fn default() -> Self {
        Self { term: 0, ids_below: 1 }
    }
}

impl MeshAuthority {
    /// A new authority with a fresh key, in memory.
    ///
    /// # Errors
    /// [`MeshNameError`] when `mesh` cannot name a mesh.
    pub fn generate(mesh: &str) -> Result<Self, MeshNameError> {
        let mesh: MeshName = mesh.parse()?;
        let key = new_key();
        let clock = Arc::new(MachineClock);
        let mut params = dated(clock.wall(), AUTHORITY_LIFETIME);
        params.distinguished_name.push(DnType::CommonName, format!("authority of {mesh}"));
        params.subject_alt_names.push(uri(mesh.authority_uri()));
        // One level is left for the intermediate certificate of a standby root (protocol rule 24).
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("our own parameters can be encoded");
        Ok(Self {
            mesh,
            roots: Roots::one(certificate.der().clone()),
            roots_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            lifetime: LIFETIME,
            clock,
            ledger: Mutex::default(),
        })
    }

    /// Reads an authority that was [saved](Self::save): `ca.pem`, `ca-key.pem` and `ca-state`. The first certificate in `ca.pem` is the
    /// one that it issues with; more may follow it while a mesh moves to a new root.
    ///
    /// # Errors
    /// [`FolderError`] when a file is missing, does not decode, or does not belong to the others.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, FolderError> {
        let folder = Folder(folder.as_ref());
        let roots_pem = folder.read(ROOTS_FILE)?;
        let roots = folder.read_roots(ROOTS_FILE)?;
        let certificate = &roots.certificates()[0];
        let key = folder.read_key(AUTHORITY_KEY_FILE)?;
        let wrong = |why| folder.content(ROOTS_FILE, why);
        let mesh = authority_name(certificate, &key).map_err(wrong)?;
        let issuer =
            Issuer::from_ca_cert_der(certificate, key).map_err(|error| wrong(error.to_string()))?;
        let reserved = read_state(&folder)?;
        let folder = Some(folder.0.to_owned());
        let ledger = Ledger { reserved, told: reserved, folder, ..Ledger::default() };
        let (lifetime, clock, ledger) = (LIFETIME, Arc::new(MachineClock), Mutex::new(ledger));
        Ok(Self { mesh, roots, roots_pem, issuer, lifetime, clock, ledger })
    }

    /// Writes the authority into a folder, its key readable by the owner alone, and from now on keeps its reservations there.
    ///
    /// # Errors
    /// [`FolderError`] when a file cannot be written or the folder already holds an authority's key.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), FolderError> {
        let folder = Folder(folder.as_ref());
        folder.create()?;
        let mut ledger = self.ledger();
        folder.write_new_key(AUTHORITY_KEY_FILE, &self.issuer.key().serialize_pem())?;
        folder.replace(ROOTS_FILE, &self.roots_pem)?;
        write_state(&folder, ledger.reserved)?;
        if !ledger.revoked.is_empty() {
            folder.replace(REVOKED_FILE, &ledger.revoked.to_text())?;
        }
        if !ledger.named.record.is_empty() {
            folder.replace(NAMES_FILE, &ledger.named.record.to_text())?;
        }
        ledger.told = ledger.reserved;
        ledger.folder = Some(folder.0.to_owned());
        Ok(())
    }

    /// Has certificates that are issued over the network live so long, instead of [`LIFETIME`].
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Takes the time from another clock than the machine's: certificates are dated by it, and the root judges by it.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The mesh's name.
    pub fn mesh(&self) -> &MeshName {
        &self.mesh
    }

    /// The identity of the root of the tree, which is always context 0.
    ///
    /// Its certificate lives for [`PEM_LIFETIME`]: the process that uses it holds the authority's key itself, so a short life
    /// would protect nothing.
    pub fn root_identity(&self) -> NodeIdentity {
        let key = JoinKey::generate();
        let names = self.names_of(ContextId::ROOT).unwrap_or_default();
        let certificate = self.certify(ContextId::ROOT, &names, key.key(), PEM_LIFETIME);
        let time = MeshTime::of_machine(self.clock.clone());
        NodeIdentity::new(key, certificate.der().clone(), self.roots.clone(), time, Duration::ZERO)
            .expect("a certificate that was issued just now is in force")
    }

    /// Issues a certificate for `context` with a key of its own and writes `ca.pem`, `cert.pem` and `key.pem` into `folder`, the
    /// key readable by its owner alone. The id is reserved durably first.
    ///
    /// # Errors
    /// [`FolderError::IdTaken`] when the id may have been given out before; otherwise what went wrong with a file.
    pub fn issue_pem(
        &self,
        folder: impl AsRef<Path>,
        context: ContextId,
        lifetime: Duration,
    ) -> Result<(), FolderError> {
        self.issue_pem_named(folder, context, lifetime, &ContextNames::default(), Holder::Stays)
    }

    /// As [`Self::issue_pem`], and binds these names to the context ([`Self::name_context`]).
    ///
    /// # Errors
    /// Those of both; no id is used up when a name cannot be had.
    pub fn issue_pem_named(
        &self,
        folder: impl AsRef<Path>,
        context: ContextId,
        lifetime: Duration,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), FolderError> {
        let folder = Folder(folder.as_ref());
        folder.create()?;
        if folder.path(KEY_FILE).exists() {
            return Err(FolderError::Exists { path: folder.path(KEY_FILE) });
        }
        self.may_name(Some(context), names, holder)?;
        let ledger = self.update(|Ledger { reserved, .. }| {
            let Reserved { term, ids_below } = *reserved;
            if context.0 < ids_below || context.0 == u64::MAX {
                return Err(FolderError::IdTaken { id: context.0, first_free: ids_below });
            }
            Ok(Reserved { term, ids_below: context.0 + 1 })
        })?;
        drop(ledger);
        self.name_context(context, names, holder)?;
        let key = new_key();
        let certificate = self.certify(context, &self.names_of(context)?, &key, lifetime);
        folder.write_new_key(KEY_FILE, &key.serialize_pem())?;
        folder.replace(CERTIFICATE_FILE, &certificate.pem())?;
        folder.replace(ROOTS_FILE, &self.roots_pem)
    }

    /// Gives out a token by which one process may join, good for this long, and at most for a week.
    ///
    /// # Errors
    /// [`FolderError`] when it cannot be written down, or as many are kept as may.
    pub fn create_token(&self, good_for: Duration) -> Result<JoinToken, FolderError> {
        self.create_token_named(good_for, &ContextNames::default(), Holder::Stays)
    }

    /// As [`Self::create_token`]; the context that joins gets these names ([`Self::name_context`]), as they are then.
    ///
    /// # Errors
    /// Those of both.
    pub fn create_token_named(
        &self,
        good_for: Duration,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<JoinToken, FolderError> {
        self.may_name(None, names, holder)?;
        let authority = *blake3::hash(&self.roots.certificates()[0]).as_bytes();
        let token = self.with_tokens(|tokens| {
            let token =
                tokens.give(self.mesh.clone(), authority, self.now().as_secs(), good_for)?;
            tokens.name(token.id(), names, holder);
            Some(token)
        })?;
        token.ok_or_else(|| FolderError::Content {
            path: TOKENS_FILE.into(),
            why: "it holds as many tokens as it may: revoke some, or wait until they expire".into(),
        })
    }

    /// Takes a token back, whether it has admitted somebody or not; whom it has admitted stays. False when there is no such token.
    ///
    /// # Errors
    /// [`FolderError`] when that cannot be written down.
    pub fn revoke_token(&self, token: TokenId) -> Result<bool, FolderError> {
        self.with_tokens(|tokens| tokens.revoke(token))
    }

    /// Does something with the tokens as they are on the disk now, and writes them down if it changed them.
    fn with_tokens<T>(&self, change: impl FnOnce(&mut Tokens) -> T) -> Result<T, FolderError> {
        let mut ledger = self.ledger();
        let Some(path) = ledger.folder.clone() else { return Ok(change(&mut ledger.tokens)) };
        let folder = Folder(&path);
        let _lock = folder.lock()?;
        let text = folder.read_secret(TOKENS_FILE)?;
        let before = Tokens::from_text(&text)
            .map_err(|line| folder.content(TOKENS_FILE, format!("line {line} is no token's")))?;
        let mut tokens = before.clone();
        let outcome = change(&mut tokens);
        if tokens != before {
            folder.replace_secret(TOKENS_FILE, &tokens.to_text())?;
        }
        Ok(outcome)
    }

    /// Revokes the certificate of a context for good: it gets no other, and its id is never given out again. False when that was done
    /// before.
    ///
    /// # Errors
    /// [`FolderError`] when it cannot be written down, or the context cannot be revoked.
    pub fn revoke_context(&self, context: ContextId) -> Result<bool, FolderError> {
        self.with_revoked(|revoked| revoked.revoke(context))
    }

    /// Takes over who is on a list that this authority has signed and does not know, because its folder is an older backup. Whether there was
    /// somebody.
    ///
    /// # Errors
    /// [`FolderError`] when it cannot be written down, or the list would be too long.
    fn absorb_revocations(&self, shown: &Revocations) -> Result<bool, FolderError> {
        self.with_revoked(|revoked| revoked.absorb(shown))
    }

    /// Changes the list as it is on the disk now, and writes it down if that is news.
    fn with_revoked(
        &self,
        change: impl FnOnce(&mut Revocations) -> Result<bool, Unrevocable>,
    ) -> Result<bool, FolderError> {
        let refused = |error: Unrevocable| FolderError::Content {
            path: REVOKED_FILE.into(),
            why: error.to_string(),
        };
        let mut ledger = self.ledger();
        let Some(path) = ledger.folder.clone() else {
            return change(&mut ledger.revoked).map_err(refused);
        };
        let folder = Folder(&path);
        let _lock = folder.lock()?;
        let mut revoked = read_revoked(&folder)?;
        let is_news = change(&mut revoked).map_err(refused)?;
        if is_news {
            folder.replace(REVOKED_FILE, &revoked.to_text())?;
        }
        Ok(is_news)
    }

    /// Whose certificates are revoked, as it is on the disk now.
    pub(super) fn revoked(&self) -> Result<Revocations, FolderError> {
        let ledger = self.ledger();
        match &ledger.folder {
            Some(path) => read_revoked(&Folder(path)),
            None => Ok(ledger.revoked.clone()),
        }
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// The mesh's roots in the form in which an [`Invitation`](actogen_runtime::transport::Invitation) carries them: DER certificates,
    /// one after the other.
    pub fn roots(&self) -> Vec<u8> {
        self.roots.to_bytes()
    }

    pub(super) fn certify(
        &self,
        context: ContextId,
        names: &ContextNames,
        key: &impl PublicKeyData,
        lifetime: Duration,
    ) -> Certificate {
        let mut params = dated(self.now(), lifetime);
        params.distinguished_name.push(DnType::CommonName, format!("context {}", context.0));
        params.subject_alt_names.push(uri(self.mesh.context_uri(context)));
        let names = names.as_slice().iter().map(|name| uri(self.mesh.name_uri(name)));
        params.subject_alt_names.extend(names);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer).expect("our own parameters can be encoded")
    }

    /// The time, since 1970.
    pub(super) fn now(&self) -> Duration {
        self.clock.wall()
    }

    /// Judges by the authority's own time, without slack.
    pub(super) fn judge(&self) -> Judge {
        let time = MeshTime::of_machine(self.clock.clone());
        Judge::new(self.mesh.clone(), &self.roots, When::Now(time), Duration::ZERO)
    }

    pub(super) fn not_revoked(&self, context: ContextId) -> Result<(), IdentityError> {
        let revoked = self.revoked().map_err(to_identity)?;
        match revoked.contains(context) {
            true => Err(IdentityError(format!("{context} has been revoked"))),
            false => Ok(()),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is reserved: on the disk first, then here. `change` gets the ledger as it is on the disk now.
    fn update(
        &self,
        change: impl FnOnce(&Ledger) -> Result<Reserved, FolderError>,
    ) -> Result<MutexGuard<'_, Ledger>, FolderError> {
        let mut ledger = self.ledger();
        let Some(path) = ledger.folder.clone() else {
            ledger.reserved = change(&ledger)?;
            return Ok(ledger);
        };
        let folder = Folder(&path);
        let _lock = folder.lock()?;
        ledger.reserved = read_state(&folder)?;
        let changed = change(&ledger)?;
        if changed != ledger.reserved {
            write_state(&folder, changed)?;
            ledger.reserved = changed;
        }
        Ok(ledger)
    }
}

impl Authority for MeshAuthority {
    /// Of the request only its public key is used: the name, the uses and the dates of a certificate are the authority's to say. An
    /// authority with a folder signs for reserved ids alone.
    fn issue(&self, context: ContextId, request: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let request = read_request(request)?;
        let ledger = self.ledger();
        if ledger.folder.is_some() && context.0 >= ledger.reserved.ids_below {
            return Err(IdentityError(format!("{context} has not been reserved")));
        }
        drop(ledger);
        self.not_revoked(context)?;
        let names = self.names_of(context).map_err(to_identity)?;
        Ok(self.certify(context, &names, &request.public_key, self.lifetime).der().to_vec())
    }

    fn renew(
        &self,
        context: ContextId,
        certificate: &[u8],
        request: &[u8],
    ) -> Result<Vec<u8>, IdentityError> {
        self.renew_in_force(context, certificate, request)
    }

    fn renew_expired(
        &self,
        certificate: &[u8],
        request: &[u8],
    ) -> Result<(ContextId, Vec<u8>), IdentityError> {
        self.renew_for_its_key(certificate, request)
    }

    fn check_token(
        &self,
        token: u64,
        request: &[u8],
        proof: &[u8; 32],
    ) -> Result<Option<ContextId>, IdentityError> {
        let key = read_request(request)?.public_key;
        let key = key.subject_public_key_info();
        let now = self.now().as_secs();
        let checked = self
            .with_tokens(|tokens| tokens.check(TokenId(token), request, proof, &key, now))
            .map_err(to_identity)?;
        checked.map_err(|refused| IdentityError(refused.to_string()))
    }

    fn bind_token(
        &self,
        token: u64,
        request: &[u8],
        context: ContextId,
    ) -> Result<(), IdentityError> {
        let key = read_request(request)?.public_key;
        let key = key.subject_public_key_info();
        let token = TokenId(token);
        let (names, holder) =
            self.with_tokens(|tokens| tokens.names(token)).map_err(to_identity)?;
        // A token is not used up by a name that cannot be had any more. The names come last: whoever comes again with its key, because
        // something failed in between, gets them then.
        self.may_name(Some(context), &names, holder).map_err(to_identity)?;
        self.with_tokens(|tokens| tokens.bind(token, &key, context)).map_err(to_identity)?;
        self.name_context(context, &names, holder).map_err(to_identity)
    }

    fn bind_names(
        &self,
        context: ContextId,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), IdentityError> {
        self.name_context(context, names, holder).map_err(to_identity)
    }

    fn holder(&self, name: &str) -> Result<Option<ContextId>, IdentityError> {
        self.holder_of(name).map_err(to_identity)
    }

    fn revoke(&self, context: ContextId) -> Result<(), IdentityError> {
        self.revoke_context(context).map(drop).map_err(to_identity)
    }

    fn recover_revocations(&self, list: &[u8]) -> Result<bool, IdentityError> {
        let shown = Revocations::verify(list, &self.mesh, &self.roots)?;
        self.absorb_revocations(&shown).map_err(to_identity)
    }

    fn revocations(&self) -> Result<Option<Vec<u8>>, IdentityError> {
        let revoked = self.revoked().map_err(to_identity)?;
        let signed = || revoked.sign(&self.mesh, self.issuer.key());
        Ok((!revoked.is_empty()).then(signed))
    }

    fn reserve(&self, term: u64, ids_below: u64) -> Result<(), IdentityError> {
        let update = self.update(|Ledger { reserved, told, .. }| {
            let refused = |why| Err(FolderError::Content { path: STATE_FILE.into(), why });
            if term < reserved.term {
                return refused(format!("term {term} is over, {} has begun", reserved.term));
            }
            if told != reserved {
                // The caller counts from what it was told, so its ids may be those of another process.
                return refused("another process has reserved ids since: ask what is".to_owned());
            }
            Ok(Reserved { term, ids_below: ids_below.max(reserved.ids_below) })
        });
        let mut ledger = update.map_err(to_identity)?;
        ledger.told = ledger.reserved;
        Ok(())
    }

    /// Also what other processes have reserved in the same folder since.
    fn reserved(&self) -> (u64, u64) {
        let mut ledger = match self.update(|ledger| Ok(ledger.reserved)) {
            Ok(ledger) => ledger,
            // The next reservation meets the same error and reports it.
            Err(_) => self.ledger(),
        };
        ledger.told = ledger.reserved;
        let Reserved { term, ids_below } = ledger.told;
        (term, ids_below)
    }
}

impl fmt::Debug for MeshAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshAuthority")
            .field("mesh", &self.mesh)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

pub(super) fn to_identity(error: impl fmt::Display) -> IdentityError {
    IdentityError(error.to_string())
}

pub(super) fn read_revoked(folder: &Folder<'_>) -> Result<Revocations, FolderError> {
    Revocations::from_text(&folder.read_if_there(REVOKED_FILE)?).map_err(|line| {
        folder.content(REVOKED_FILE, format!("line {line} is not one of a list of ids"))
    })
}

fn write_state(folder: &Folder<'_>, reserved: Reserved) -> Result<(), FolderError> {
    let Reserved { term, ids_below } = reserved;
    folder.replace(STATE_FILE, &format!("term {term}\nids_below {ids_below}\n"))
}

fn read_state(folder: &Folder<'_>) -> Result<Reserved, FolderError> {
    let text = folder.read(STATE_FILE)?;
    let field = |line: Option<&str>, name| line?.strip_prefix(name)?.trim().parse().ok();
    let mut lines = text.lines();
    let parsed = (field(lines.next(), "term "), field(lines.next(), "ids_below "), lines.next());
    match parsed {
        (Some(term), Some(ids_below), None) => Ok(Reserved { term, ids_below }),
        _ => Err(folder.content(
            STATE_FILE,
            "it does not hold a line `term N` and a line `ids_below N`. Without it ids could be given out twice: restore it"
                .to_owned(),
        )),
    }
}
