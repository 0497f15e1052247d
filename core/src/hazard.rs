//! One axis for the labels of all moderation services: the hazard categories of MLCommons AILuminate 1.0
//! (arXiv 2503.05731), and what services call them. Services differ in what they look for and in how strict they are: the
//! axis says what a label is about, and makes two services' rates no more comparable than they are.

/// A hazard; the place is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hazard {
    ViolentCrimes = 0,
    NonViolentCrimes = 1,
    SexRelatedCrimes = 2,
    ChildSexualExploitation = 3,
    Defamation = 4,
    SpecializedAdvice = 5,
    Privacy = 6,
    IntellectualProperty = 7,
    IndiscriminateWeapons = 8,
    Hate = 9,
    SelfHarm = 10,
    SexualContent = 11,
    /// Outside the twelve: jailbreaks, profanity, grounding, a deployer's own topics and words.
    Other = 12,
}

impl Hazard {
    pub const ALL: [Self; 13] = [
        Self::ViolentCrimes,
        Self::NonViolentCrimes,
        Self::SexRelatedCrimes,
        Self::ChildSexualExploitation,
        Self::Defamation,
        Self::SpecializedAdvice,
        Self::Privacy,
        Self::IntellectualProperty,
        Self::IndiscriminateWeapons,
        Self::Hate,
        Self::SelfHarm,
        Self::SexualContent,
        Self::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ViolentCrimes => "violent_crimes",
            Self::NonViolentCrimes => "non_violent_crimes",
            Self::SexRelatedCrimes => "sex_related_crimes",
            Self::ChildSexualExploitation => "child_sexual_exploitation",
            Self::Defamation => "defamation",
            Self::SpecializedAdvice => "specialized_advice",
            Self::Privacy => "privacy",
            Self::IntellectualProperty => "intellectual_property",
            Self::IndiscriminateWeapons => "indiscriminate_weapons",
            Self::Hate => "hate",
            Self::SelfHarm => "self_harm",
            Self::SexualContent => "sexual_content",
            Self::Other => "other",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hazard| hazard.name() == name)
    }

    /// Its bit among the hazards of a call.
    pub fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A service's word, lower case with `_` for what is neither letter nor digit, and what it is about.
type Words = &'static [(&'static str, &'static [Hazard])];

use Hazard::{
    ChildSexualExploitation, Defamation, Hate, IndiscriminateWeapons, IntellectualProperty, NonViolentCrimes, Other,
    Privacy, SelfHarm, SexRelatedCrimes, SexualContent, SpecializedAdvice, ViolentCrimes,
};

/// OpenAI moderation (omni-moderation).
const OPENAI: Words = &[
    ("violence", &[ViolentCrimes]),
    ("violence_graphic", &[ViolentCrimes]),
    ("harassment", &[Hate]),
    ("harassment_threatening", &[ViolentCrimes, Hate]),
    ("illicit", &[NonViolentCrimes]),
    ("illicit_violent", &[ViolentCrimes, IndiscriminateWeapons]),
    ("sexual", &[SexualContent]),
    ("sexual_minors", &[ChildSexualExploitation]),
    ("hate", &[Hate]),
    ("hate_threatening", &[Hate, ViolentCrimes]),
    ("self_harm", &[SelfHarm]),
    ("self_harm_intent", &[SelfHarm]),
    ("self_harm_instructions", &[SelfHarm]),
];

/// Llama Guard 3 and 4.
const LLAMA_GUARD: Words = &[
    ("s1", &[ViolentCrimes]),
    ("s2", &[NonViolentCrimes]),
    ("s3", &[SexRelatedCrimes]),
    ("s4", &[ChildSexualExploitation]),
    ("s5", &[Defamation]),
    ("s6", &[SpecializedAdvice]),
    ("s7", &[Privacy]),
    ("s8", &[IntellectualProperty]),
    ("s9", &[IndiscriminateWeapons]),
    ("s10", &[Hate]),
    ("s11", &[SelfHarm]),
    ("s12", &[SexualContent]),
    ("s13", &[Other]),
    ("s14", &[Other]),
];

/// Azure content filters. Its `violence` and `sexual` are wider than one hazard.
const AZURE: Words = &[
    ("violence", &[ViolentCrimes, IndiscriminateWeapons]),
    ("sexual", &[SexualContent, SexRelatedCrimes]),
    ("hate", &[Hate]),
    ("self_harm", &[SelfHarm]),
    ("selfharm", &[SelfHarm]),
    ("protected_material_text", &[IntellectualProperty]),
    ("protected_material_code", &[IntellectualProperty]),
];

/// Bedrock guardrails.
const BEDROCK: Words = &[
    ("violence", &[ViolentCrimes]),
    ("misconduct", &[NonViolentCrimes, IndiscriminateWeapons]),
    ("sexual", &[SexualContent, SexRelatedCrimes]),
    ("hate", &[Hate]),
    ("insults", &[Hate]),
    ("sensitiveinformationpolicy", &[Privacy]),
    ("sensitive_information", &[Privacy]),
    ("denied_topic", &[SpecializedAdvice]),
];

/// By a part of the source's name; a source that none of them names is asked in this order, and by the hazards' own
/// names.
const SERVICES: [(&str, Words); 4] =
    [("openai", OPENAI), ("llama", LLAMA_GUARD), ("azure", AZURE), ("bedrock", BEDROCK)];

/// What a service's label is about, as bits; [`Hazard::Other`] where nobody knows.
pub fn of(source: &str, category: &str) -> u16 {
    let plain: String =
        category.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let source = source.to_ascii_lowercase();
    let named = SERVICES.iter().find(|(name, _)| source.contains(name));
    let known = |words: Words| words.iter().find(|(word, _)| *word == plain).map(|(_, hazards)| *hazards);
    let told = match named {
        // Azure runs OpenAI's models: where both are named, the filter is Azure's.
        Some(_) if source.contains("azure") => known(AZURE),
        Some((_, words)) => known(words),
        None => SERVICES.iter().find_map(|(_, words)| known(words)),
    };
    match (told, Hazard::find(&plain)) {
        (Some(hazards), _) => hazards.iter().fold(0, |bits, hazard| bits | hazard.bit()),
        (None, Some(hazard)) => hazard.bit(),
        (None, None) => Other.bit(),
    }
}

/// What one source said of the calls of a pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moderator {
    /// Calls that it judged: without a label a call is not a safe one.
    pub calls: u64,
    pub flagged: u64,
    pub blocked: u64,
    /// By hazard.
    pub hazards: [u64; Hazard::ALL.len()],
}

impl Moderator {
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.flagged += other.flagged;
        self.blocked += other.blocked;
        self.hazards.iter_mut().zip(other.hazards).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// What one source said of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// `source`, or `source@version`.
    pub source: Box<str>,
    pub flagged: bool,
    pub blocked: bool,
    /// Bits of the hazards that it raised.
    pub hazards: u16,
    /// Bits of those that the policy allows.
    pub allowed: u16,
}

/// Upstream moderation labels of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moderated {
    /// `source:category` of each label that was raised.
    pub raised: Vec<Box<str>>,
    pub judged: Vec<Judged>,
}

impl Moderated {
    pub fn blocked(&self) -> bool {
        self.judged.iter().any(|judged| judged.blocked)
    }

    /// Bits of the hazards that any source raised.
    pub fn hazards(&self) -> u16 {
        self.judged.iter().fold(0, |bits, judged| bits | judged.hazards & !judged.allowed)
    }

    /// A label was raised that the policy does not allow.
    pub fn raised(&self) -> bool {
        self.judged.iter().any(|judged| judged.flagged && judged.hazards & !judged.allowed != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str, category: &str) -> Vec<&'static str> {
        let bits = of(source, category);
        Hazard::ALL.into_iter().filter(|hazard| bits & hazard.bit() != 0).map(Hazard::name).collect()
    }

    #[test]
    fn a_word_is_read_as_its_service_means_it() {
        assert_eq!(names("openai-moderation", "harassment/threatening"), ["violent_crimes", "hate"]);
        assert_eq!(names("openai", "self-harm/intent"), ["self_harm"]);
        assert_eq!(names("llama-guard-3", "S10"), ["hate"]);
        assert_eq!(names("azure_openai", "sexual"), ["sex_related_crimes", "sexual_content"]);
        assert_eq!(names("bedrock", "MISCONDUCT"), ["non_violent_crimes", "indiscriminate_weapons"]);
        assert_eq!(names("in-house", "illicit"), ["non_violent_crimes"]);
        assert_eq!(names("in-house", "defamation"), ["defamation"]);
        assert_eq!(names("azure", "jailbreak"), ["other"]);
        assert_eq!(names("openai", "S10"), ["other"], "another service's word");
    }

    #[test]
    fn every_hazard_but_the_rest_is_some_services_word() {
        for hazard in Hazard::ALL {
            let told = SERVICES.iter().any(|(_, words)| words.iter().any(|(_, hazards)| hazards.contains(&hazard)));
            assert!(told, "{}", hazard.name());
        }
    }
}
