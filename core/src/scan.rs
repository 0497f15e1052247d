//! What a scan of a call's texts says: counts, never the texts.

/// Kinds of personal data and secrets that are looked for; the place is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Entity {
    Email,
    Phone,
    Card,
    Iban,
    UsSsn,
    Secret,
    Ip,
    Mac,
    UrlCred,
    Jwt,
    Dob,
    Passport,
    Mrz,
    MedicalId,
    Swift,
    Btc,
    Eth,
    Imei,
    Vin,
    UsItin,
    UsAbaRouting,
    UsNpi,
    UsMbi,
    UsDea,
    UsDl,
    UkNhs,
    UkNino,
    UkDl,
    CaSin,
    MxCurp,
    BrCpf,
    BrCnpj,
    ArCuit,
    ClRut,
    InAadhaar,
    InPan,
    InGstin,
    AuTfn,
    AuAbn,
    AuMedicare,
    SgNric,
    CnRic,
    KrRrn,
    IlId,
    TrTckn,
    ZaId,
    PlPesel,
    EsDni,
    EsNie,
    ItCf,
    FrNir,
    DeIdnr,
    NlBsn,
    BeNn,
    SePersonnummer,
    FiHetu,
}

impl Entity {
    pub const ALL: [Self; 56] = [
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::UsSsn,
        Self::Secret,
        Self::Ip,
        Self::Mac,
        Self::UrlCred,
        Self::Jwt,
        Self::Dob,
        Self::Passport,
        Self::Mrz,
        Self::MedicalId,
        Self::Swift,
        Self::Btc,
        Self::Eth,
        Self::Imei,
        Self::Vin,
        Self::UsItin,
        Self::UsAbaRouting,
        Self::UsNpi,
        Self::UsMbi,
        Self::UsDea,
        Self::UsDl,
        Self::UkNhs,
        Self::UkNino,
        Self::UkDl,
        Self::CaSin,
        Self::MxCurp,
        Self::BrCpf,
        Self::BrCnpj,
        Self::ArCuit,
        Self::ClRut,
        Self::InAadhaar,
        Self::InPan,
        Self::InGstin,
        Self::AuTfn,
        Self::AuAbn,
        Self::AuMedicare,
        Self::SgNric,
        Self::CnRic,
        Self::KrRrn,
        Self::IlId,
        Self::TrTckn,
        Self::ZaId,
        Self::PlPesel,
        Self::EsDni,
        Self::EsNie,
        Self::ItCf,
        Self::FrNir,
        Self::DeIdnr,
        Self::NlBsn,
        Self::BeNn,
        Self::SePersonnummer,
        Self::FiHetu,
    ];

    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// Names of the kinds, in their order.
const NAMES: [&str; 56] = [
    "email",
    "phone",
    "card",
    "iban",
    "us_ssn",
    "secret",
    "ip",
    "mac",
    "url_cred",
    "jwt",
    "dob",
    "passport",
    "mrz",
    "medical_id",
    "swift",
    "btc",
    "eth",
    "imei",
    "vin",
    "us_itin",
    "us_aba_routing",
    "us_npi",
    "us_mbi",
    "us_dea",
    "us_dl",
    "uk_nhs",
    "uk_nino",
    "uk_dl",
    "ca_sin",
    "mx_curp",
    "br_cpf",
    "br_cnpj",
    "ar_cuit",
    "cl_rut",
    "in_aadhaar",
    "in_pan",
    "in_gstin",
    "au_tfn",
    "au_abn",
    "au_medicare",
    "sg_nric",
    "cn_ric",
    "kr_rrn",
    "il_id",
    "tr_tckn",
    "za_id",
    "pl_pesel",
    "es_dni",
    "es_nie",
    "it_cf",
    "fr_nir",
    "de_idnr",
    "nl_bsn",
    "be_nn",
    "se_personnummer",
    "fi_hetu",
];

/// Where a value in an answer came from, as far as the call's own texts tell; the place is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Origin {
    /// The same value stands in the user's input.
    Echo = 0,
    /// It stands in a retrieved document.
    Retrieved = 1,
    /// It stands in the system prompt.
    System = 2,
    /// It stands in none of the inputs, all of which were there.
    Unexplained = 3,
    /// An input was absent or cut, so nobody can say.
    Unattributed = 4,
}

impl Origin {
    pub const ALL: [Self; 5] = [Self::Echo, Self::Retrieved, Self::System, Self::Unexplained, Self::Unattributed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Retrieved => "retrieved",
            Self::System => "system",
            Self::Unexplained => "unexplained",
            Self::Unattributed => "unattributed",
        }
    }
}

pub const ENTITIES: usize = Entity::ALL.len();
pub const ORIGINS: usize = Origin::ALL.len();

/// Hits of answers, by entity and origin: the few that are not zero, in the order of their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hits(Vec<(u16, u64)>);

impl Hits {
    pub fn add(&mut self, entity: Entity, origin: Origin, n: u64) {
        let slot = self.slot(entity as usize * ORIGINS + origin as usize);
        *slot = slot.saturating_add(n);
    }

    pub fn get(&self, entity: Entity, origin: Origin) -> u64 {
        let place = (entity as usize * ORIGINS + origin as usize) as u16;
        self.0.binary_search_by_key(&place, |(place, _)| *place).map_or(0, |at| self.0[at].1)
    }

    /// Hits of an origin that are a person's or a secret: addresses of machines are told by kind alone.
    pub fn of_origin(&self, origin: Origin) -> u64 {
        let counts = |place: u16| {
            let (entity, of) = (usize::from(place) / ORIGINS, usize::from(place) % ORIGINS);
            of == origin as usize && entity != Entity::Ip as usize && entity != Entity::Mac as usize
        };
        self.0.iter().filter(|(place, _)| counts(*place)).map(|(_, n)| n).sum()
    }

    pub fn merge(&mut self, other: &Self) {
        for (place, n) in &other.0 {
            let slot = self.slot(usize::from(*place));
            *slot = slot.saturating_add(*n);
        }
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u16, u64)>()
    }

    /// (place in row-major order, count) of what is not zero.
    pub fn entries(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().map(|(place, n)| (usize::from(*place), *n)).filter(|(_, n)| *n > 0)
    }

    /// `false` where no such place is known.
    pub fn set(&mut self, place: usize, n: u64) -> bool {
        let known = place < ENTITIES * ORIGINS;
        if known {
            *self.slot(place) = n;
        }
        known
    }

    fn slot(&mut self, place: usize) -> &mut u64 {
        let place = place as u16;
        let at = self.0.binary_search_by_key(&place, |(place, _)| *place).unwrap_or_else(|at| {
            self.0.insert(at, (place, 0));
            at
        });
        &mut self.0[at].1
    }
}

/// The scan of one call's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scanned {
    pub hits: Hits,
    /// The answer opens as refusals do.
    pub refused: bool,
    /// Marks of the texts, in the order of [`Marker::ALL`]; `None` where the call was not examined.
    pub marks: Option<u16>,
}

/// Upstream moderation labels of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moderated {
    /// `source:category` of each label that was raised.
    pub raised: Vec<Box<str>>,
    pub blocked: bool,
}

/// What a text shows beside its values; the place is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Marker {
    /// An answer declines, wholly or in part.
    Refusal = 0,
    /// A user tries to talk the model out of its rules.
    Jailbreak = 1,
    /// An answer holds a long part of the system prompt.
    PromptLeak = 2,
    /// Characters that nobody sees.
    Invisible = 3,
    /// Words of letters that look like others.
    Homoglyph = 4,
    /// A shown address carries text away.
    Exfiltration = 5,
    /// Readable text in another dress.
    Encoded = 6,
    /// An answer goes round.
    Repetition = 7,
    /// An answer stops in the middle.
    Truncation = 8,
    /// Control sequences of a terminal.
    Escape = 9,
}

impl Marker {
    /// Its bit among the marks of a call.
    pub fn bit(self) -> u16 {
        1 << self as u16
    }

    pub const ALL: [Self; 10] = [
        Self::Refusal,
        Self::Jailbreak,
        Self::PromptLeak,
        Self::Invisible,
        Self::Homoglyph,
        Self::Exfiltration,
        Self::Encoded,
        Self::Repetition,
        Self::Truncation,
        Self::Escape,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Jailbreak => "jailbreak",
            Self::PromptLeak => "prompt_leak",
            Self::Invisible => "invisible",
            Self::Homoglyph => "homoglyph",
            Self::Exfiltration => "exfiltration",
            Self::Encoded => "encoded",
            Self::Repetition => "repetition",
            Self::Truncation => "truncation",
            Self::Escape => "escape",
        }
    }
}
