//! What a scan of a call's texts says: counts, never the texts.

use crate::quality::Quality;
use crate::words::Places;

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
    Password,
}

impl Entity {
    pub const ALL: [Self; 57] = [
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
        Self::Password,
    ];

    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }

    /// A person's or a secret: addresses of machines are told by kind alone.
    pub fn personal(self) -> bool {
        !matches!(self, Self::Ip | Self::Mac)
    }

    /// How many there may be, at least: those that pass the kind's check, or that people choose from. Somebody who makes a value
    /// up meets one of n that live with a chance of n in so many.
    pub fn possible(self) -> f64 {
        match self {
            Self::Secret | Self::Jwt | Self::UrlCred | Self::Mrz | Self::Btc | Self::Eth => 1e30,
            Self::Iban | Self::MxCurp | Self::ItCf | Self::UkDl | Self::InGstin => 1e12,
            Self::Vin | Self::UsMbi | Self::CnRic => 1e11,
            Self::Imei | Self::FrNir | Self::DeIdnr | Self::BrCnpj | Self::Card => 1e9,
            Self::UsSsn | Self::UkNhs | Self::BrCpf | Self::InAadhaar | Self::TrTckn | Self::AuAbn | Self::ArCuit => {
                8e8
            }
            Self::UkNino | Self::InPan | Self::UsNpi | Self::NlBsn | Self::IlId | Self::AuMedicare | Self::Passport => {
                8e7
            }
            Self::UsDl | Self::UsDea | Self::Phone | Self::CaSin | Self::AuTfn | Self::EsDni | Self::EsNie => 4e7,
            Self::UsItin | Self::PlPesel | Self::BeNn | Self::SePersonnummer | Self::FiHetu | Self::KrRrn => 1e7,
            Self::ZaId | Self::SgNric | Self::ClRut | Self::MedicalId => 7e6,
            // Of these few are common: names at large providers, a bank's one code, an office's address, what people choose.
            Self::Password | Self::Email | Self::UsAbaRouting | Self::Mac | Self::Ip => 1e6,
            Self::Swift | Self::Dob => 3e4,
        }
    }

    /// It opens something, and is compared as it stands.
    pub fn opens(self) -> bool {
        matches!(self, Self::Secret | Self::Password | Self::Jwt | Self::UrlCred)
    }

    /// Two people do not have the same one by chance, and it is not published: 60 bits or more that nobody shares.
    pub fn unmistakable(self) -> bool {
        matches!(self, Self::Secret | Self::Jwt | Self::UrlCred | Self::Iban)
    }
}

/// Names of the kinds, in their order.
const NAMES: [&str; 57] = [
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
    "password",
];

/// Where a value came from; the place is stored. The call's own texts tell the first eight. From [`Origin::Traced`] on
/// they are parts of [`Origin::Unexplained`], told later by what other calls held.
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
    /// An earlier turn of the conversation held it, whatever it was there.
    History = 5,
    /// It stands in no answer: an attribute, a label or an error text of the telemetry holds it.
    Telemetry = 6,
    /// Of the retrieved: the document is another tenant's.
    ForeignDocument = 7,
    /// Looked up among what all calls of the last day held, all of which was known.
    Traced = 8,
    /// Another tenant had it.
    CrossTenant = 9,
    /// Another user of the tenant had it, and no other tenant.
    CrossUser = 10,
    /// The same conversation had it.
    Recalled = 11,
    /// A part of a value that is not shown whole, wherever it came from: `**** 4242`.
    Partial = 12,
}

impl Origin {
    pub const ALL: [Self; 13] = [
        Self::Echo,
        Self::Retrieved,
        Self::System,
        Self::Unexplained,
        Self::Unattributed,
        Self::History,
        Self::Telemetry,
        Self::ForeignDocument,
        Self::Traced,
        Self::CrossTenant,
        Self::CrossUser,
        Self::Recalled,
        Self::Partial,
    ];

    /// Those that the call's own texts tell, of which a policy may speak.
    pub const TOLD: [Self; 8] = [
        Self::Echo,
        Self::Retrieved,
        Self::System,
        Self::Unexplained,
        Self::Unattributed,
        Self::History,
        Self::Telemetry,
        Self::ForeignDocument,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Retrieved => "retrieved",
            Self::System => "system",
            Self::Unexplained => "unexplained",
            Self::Unattributed => "unattributed",
            Self::History => "history",
            Self::Telemetry => "telemetry",
            Self::ForeignDocument => "foreign_document",
            Self::Traced => "traced",
            Self::CrossTenant => "cross_tenant",
            Self::CrossUser => "cross_user",
            Self::Recalled => "recalled",
            Self::Partial => "partial",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.name() == name)
    }
}

pub const ENTITIES: usize = Entity::ALL.len();
/// Room for the origins of one kind.
const STRIDE: usize = 16;
/// Places in that room of values that were compared with other tenants', each once however often an answer says it: how many, how many
/// another tenant had, and how many chance alone would find, in billionths.
const COMPARED: usize = STRIDE - 3;
const FOREIGN: usize = STRIDE - 2;
const CHANCE: usize = STRIDE - 1;
/// The room that they had before version 4 of the pane.
const OLD_STRIDE: usize = 5;

/// Values that were found, by entity and origin: the few that are not zero, in the order of their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hits(Vec<(u16, u64)>);

impl Hits {
    pub fn add(&mut self, entity: Entity, origin: Origin, n: u64) {
        let slot = self.slot(entity as usize * STRIDE + origin as usize);
        *slot = slot.saturating_add(n);
    }

    pub fn get(&self, entity: Entity, origin: Origin) -> u64 {
        let place = (entity as usize * STRIDE + origin as usize) as u16;
        self.0.binary_search_by_key(&place, |(place, _)| *place).map_or(0, |at| self.0[at].1)
    }

    /// Hits of an origin that are a person's or a secret: addresses of machines are told by kind alone.
    pub fn of_origin(&self, origin: Origin) -> u64 {
        self.of(origin, Entity::personal)
    }

    /// Hits of an origin, of the kinds that are asked for.
    pub fn of(&self, origin: Origin, kinds: impl Fn(Entity) -> bool) -> u64 {
        let counts = |place: u16| {
            let (entity, of) = (usize::from(place) / STRIDE, usize::from(place) % STRIDE);
            of == origin as usize && kinds(Entity::ALL[entity])
        };
        self.0.iter().filter(|(place, _)| counts(*place)).map(|(_, n)| n).sum()
    }

    /// Adds a value that was compared with other tenants': whether one had it, and how likely it would be found with one though
    /// somebody made it up.
    pub fn compare(&mut self, entity: Entity, foreign: bool, chance: f64) {
        let first = entity as usize * STRIDE;
        for (place, n) in [(COMPARED, 1), (FOREIGN, u64::from(foreign)), (CHANCE, (chance * 1e9).round() as u64)] {
            if n > 0 {
                let slot = self.slot(first + place);
                *slot = slot.saturating_add(n);
            }
        }
    }

    /// What was compared of the kinds that are a person's and of which chance finds one in a hundred at most: of others a find says
    /// nothing.
    pub fn compared(&self) -> Compared {
        let mut all = Compared::default();
        for entity in Entity::ALL.into_iter().filter(|entity| entity.personal()) {
            let of = |place: usize| {
                let place = (entity as usize * STRIDE + place) as u16;
                self.0.binary_search_by_key(&place, |(place, _)| *place).map_or(0, |at| self.0[at].1)
            };
            let (n, foreign, chance) = (of(COMPARED), of(FOREIGN), of(CHANCE) as f64 / 1e9);
            if chance <= n as f64 / 100.0 {
                all = Compared { n: all.n + n, foreign: all.foreign + foreign, chance: all.chance + chance };
            }
        }
        all
    }

    pub fn merge(&mut self, other: &Self) {
        for (place, n) in &other.0 {
            let slot = self.slot(usize::from(*place));
            *slot = slot.saturating_add(*n);
        }
    }

    /// (entity, origin, count) of what is not zero.
    pub fn values(&self) -> impl Iterator<Item = (Entity, Origin, u64)> + '_ {
        let origin = |place: usize| Origin::ALL.get(place % STRIDE).copied();
        self.entries().filter_map(move |(place, n)| Some((Entity::ALL[place / STRIDE], origin(place)?, n)))
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
        let of = place % STRIDE;
        let known = place < ENTITIES * STRIDE && (of < Origin::ALL.len() || of >= COMPARED);
        if known && n > 0 {
            *self.slot(place) = n;
        }
        known
    }

    /// As [`Hits::set`], of a place as it was before version 4 of the pane.
    pub fn set_old(&mut self, place: usize, n: u64) -> bool {
        place < ENTITIES * OLD_STRIDE && self.set(place / OLD_STRIDE * STRIDE + place % OLD_STRIDE, n)
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

/// Values that were compared with other tenants', each once a call.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Compared {
    pub n: u64,
    /// Another tenant had them.
    pub foreign: u64,
    /// How many chance alone would find, rather too many.
    pub chance: f64,
}

/// The scan of one call's texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scanned {
    pub hits: Hits,
    /// The answer opens as refusals do.
    pub refused: bool,
    /// Values that the policy counts as leaks.
    pub leaks: u64,
    /// The policy calls one of the values severe.
    pub severe: bool,
    /// Marks of the texts, in the order of [`Marker::ALL`]; `None` where the call was not examined.
    pub marks: Option<u16>,
    /// What was measured of the texts, in millionths.
    pub qualities: Vec<(Quality, u64)>,
    /// Words that are asked and answered, where they are counted; `None` of a side without a text.
    pub words: Option<Box<[Option<Places>; 2]>>,
    /// Bytes of the texts, and how many of them were read.
    pub bytes: (u64, u64),
    /// What the call held, for the search among other calls; empty where there is none.
    pub mentions: Vec<Mention>,
    /// Of these: a user and a conversation as keyed hashes; zero where nobody says.
    pub user: u64,
    pub session: u64,
}

/// A value that a call held, as a keyed hash of it: what other calls are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mention {
    pub print: Print,
    pub entity: Entity,
    /// It stands in the answer and in no text of the call, all of which were there: it is looked up.
    pub unexplained: bool,
    /// How often the answer says it.
    pub n: u16,
}

/// Keyed hashes of one value: under the key of the day of its call, of the day before, and (few bits) under one that
/// stays, which says who keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Print {
    pub day: u64,
    pub day_before: u64,
    pub keeper: u16,
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
    /// An answer declines a part, and answers the rest.
    PartialRefusal = 10,
    /// What was retrieved speaks to the model: a rate to watch, no proof of an attack.
    Instruction = 11,
}

impl Marker {
    /// Its bit among the marks of a call.
    pub fn bit(self) -> u16 {
        1 << self as u16
    }

    pub const ALL: [Self; 12] = [
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
        Self::PartialRefusal,
        Self::Instruction,
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
            Self::PartialRefusal => "partial_refusal",
            Self::Instruction => "instruction",
        }
    }
}
