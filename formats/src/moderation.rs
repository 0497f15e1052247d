//! What moderation services say, in their own forms, as labels. Categories are the services' own words, taken from lists:
//! nothing that a service quotes from a text (Bedrock's `match`) is read.

use leeway_core::event::{Call, Moderation, Part};

use crate::cursor::Value;
use crate::leeway_json::cut;
use crate::otlp::{member, text};

/// Labels of one call; more are not looked at.
const MAX_LABELS: usize = 64;
/// Longest name of a source and of its version.
const MAX_NAME: usize = 64;

const OPENAI: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];
const AZURE: [&str; 12] = [
    "hate",
    "self_harm",
    "sexual",
    "violence",
    "jailbreak",
    "indirect_attack",
    "profanity",
    "protected_material_text",
    "protected_material_code",
    "custom_blocklists",
    "ungrounded_material",
    "personally_identifiable_information",
];
const BEDROCK: [&str; 6] = ["HATE", "INSULTS", "SEXUAL", "VIOLENCE", "MISCONDUCT", "PROMPT_ATTACK"];
const LLAMA_GUARD: [&str; 14] =
    ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14"];

fn push<'a>(call: &mut Call<'a>, label: Moderation<'a>) {
    if call.moderation.len() < MAX_LABELS {
        call.moderation.push(label);
    }
}

fn yes(value: Value<'_, '_>, path: &str) -> bool {
    member(value, path).and_then(|value| value.bool("moderation").ok().flatten()) == Some(true)
}

/// Any service's answer, told by its form; `false` where it is none.
pub fn answer<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) -> bool {
    if let Some(results) = member(value, "results").and_then(Value::items) {
        results.for_each(|result| openai(call, result, text(value, "model").unwrap_or_default()));
        return true;
    }
    let before = call.moderation.len();
    azure(call, value);
    bedrock(call, value);
    call.moderation.len() > before
}

/// One of OpenAI's `results`.
fn openai<'i>(call: &mut Call<'i>, result: Value<'_, 'i>, model: &'i str) {
    let of = |category, raised| Moderation {
        source: "openai",
        version: cut(model, MAX_NAME),
        category,
        raised,
        blocked: false,
    };
    let categories = member(result, "categories");
    let raised = |name: &str| {
        let mut fields = categories.and_then(Value::fields).into_iter().flatten();
        fields.any(|(key, value)| key == name && value.bool("moderation").ok().flatten() == Some(true))
    };
    let labels: Vec<&'static str> = OPENAI.into_iter().filter(|name| raised(name)).collect();
    if labels.is_empty() {
        push(call, of("flagged", yes(result, "flagged")));
    }
    labels.into_iter().for_each(|name| push(call, of(name, true)));
}

/// Azure's `content_filter_results` and `prompt_filter_results`, where they stand in a response or are one themselves.
pub fn azure(call: &mut Call<'_>, value: Value<'_, '_>) {
    let prompts = member(value, "prompt_filter_results").and_then(Value::items).into_iter().flatten();
    let choices = member(value, "choices").and_then(Value::items).into_iter().flatten();
    for part in std::iter::once(value).chain(prompts).chain(choices) {
        if let Some(results) = member(part, "content_filter_results") {
            azure_results(call, results);
        }
    }
}

fn azure_results(call: &mut Call<'_>, results: Value<'_, '_>) {
    for (name, result) in results.fields().into_iter().flatten() {
        let Some(category) = AZURE.into_iter().find(|known| *known == name) else { continue };
        let severe = text(result, "severity").is_some_and(|severity| severity != "safe");
        let blocked = yes(result, "filtered");
        let raised = severe || blocked || yes(result, "detected");
        push(call, Moderation { source: "azure", version: "", category, raised, blocked });
    }
}

/// Azure's results as an attribute's JSON: the results themselves, or a list of what has them.
pub fn azure_attribute(call: &mut Call<'_>, value: Value<'_, '_>) {
    azure(call, value);
    azure_results(call, value);
    value.items().into_iter().flatten().for_each(|item| azure(call, item));
}

/// Bedrock's guardrail trace or `ApplyGuardrail` answer.
fn bedrock<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) {
    let list = |name: &str| member(value, name).and_then(Value::items).into_iter().flatten();
    // Assessments of the trace stand below the guardrail's id.
    let below = |name: &str| {
        member(value, name).and_then(Value::fields).into_iter().flatten().map(|(_, assessment)| assessment)
    };
    let lists = below("outputAssessments").flat_map(|list| list.items().into_iter().flatten());
    for assessment in list("assessments").chain(below("inputAssessment")).chain(lists) {
        bedrock_assessment(call, assessment);
    }
}

/// Policies of an assessment: where their hits stand, and what they are called; `None` takes the hit's own type.
const POLICIES: [(&str, Option<&str>); 6] = [
    ("contentPolicy.filters", None),
    ("topicPolicy.topics", Some("denied_topic")),
    ("wordPolicy.customWords", Some("words")),
    ("wordPolicy.managedWordLists", Some("words")),
    ("sensitiveInformationPolicy.piiEntities", Some("sensitive_information")),
    ("sensitiveInformationPolicy.regexes", Some("sensitive_information")),
];

fn bedrock_assessment(call: &mut Call<'_>, assessment: Value<'_, '_>) {
    let label = |category, raised, blocked| Moderation { source: "bedrock", version: "", category, raised, blocked };
    let before = call.moderation.len();
    for (path, name) in POLICIES {
        for hit in member(assessment, path).and_then(Value::items).into_iter().flatten() {
            let told = text(hit, "type").unwrap_or_default();
            let own = || BEDROCK.into_iter().find(|known| *known == told).unwrap_or("other");
            let blocked = matches!(text(hit, "action"), Some("BLOCKED"));
            push(call, label(name.unwrap_or_else(own), true, blocked));
        }
    }
    for check in member(assessment, "contextualGroundingPolicy.filters").and_then(Value::items).into_iter().flatten() {
        let blocked = matches!(text(check, "action"), Some("BLOCKED"));
        push(call, label("grounding", blocked, blocked));
    }
    if call.moderation.len() == before {
        push(call, label("none", false, false));
    }
}

/// LiteLLM's account of its guardrails: one, or a list.
pub fn guardrails<'i>(call: &mut Call<'i>, value: Value<'_, 'i>) {
    for ran in std::iter::once(value).chain(value.items().into_iter().flatten()) {
        let name = text(ran, "guardrail_provider").or_else(|| text(ran, "guardrail_name"));
        let (Some(source), Some(status)) = (name, text(ran, "guardrail_status")) else { continue };
        // One that did not answer judged nothing.
        if status.contains("fail") || status == "not_run" {
            continue;
        }
        let inside = member(ran, "guardrail_response").is_some_and(|response| answer(call, response));
        if !inside {
            let blocked = matches!(status, "guardrail_intervened" | "blocked");
            let source = cut(source, MAX_NAME);
            push(call, Moderation { source, version: "", category: "guardrail", raised: blocked, blocked });
        }
    }
}

/// A call to a Llama Guard is no chat: its answer is a verdict, `safe`, or `unsafe` and the codes below it.
pub fn of_guard(call: &mut Call<'_>) {
    let model = call.model();
    let plain: String = model.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let Some((_, version)) = plain.split_once("llamaguard") else { return };
    let Some(verdict) = call.texts.iter().find(|text| text.part == Part::Output) else { return };
    let mut words = verdict.text.split(|letter: char| letter.is_whitespace() || letter == ',');
    let mut words = words.by_ref().filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    if !matches!(first, "safe" | "unsafe") {
        return;
    }
    let version = ["2", "3", "4"].into_iter().find(|known| version.starts_with(known)).unwrap_or_default();
    let label = |category, raised| Moderation { source: "llama-guard", version, category, raised, blocked: false };
    let codes = |word: &str| LLAMA_GUARD.into_iter().find(|code| *code == word);
    let mut labels: Vec<Moderation<'_>> = words.filter_map(codes).map(|code| label(code, true)).collect();
    if labels.is_empty() {
        labels.push(label("none", first == "unsafe"));
    }
    call.operation = "guardrail";
    labels.into_iter().for_each(|label| push(call, label));
}

#[cfg(test)]
mod tests {
    use crate::{Format, LeewayJson, LiteLlm, Options, Scratch, Sink, UserKey};
    use leeway_core::event::{Event, Reject};

    #[derive(Default)]
    struct Labels(Vec<String>);

    impl Sink for Labels {
        fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
            let Ok(Event::Call(call)) = decoded else { panic!("no call: {decoded:?}") };
            self.0.extend(call.moderation.iter().map(|label| {
                let version = if label.version.is_empty() { String::new() } else { format!("@{}", label.version) };
                let said = if label.blocked {
                    " blocked"
                } else if label.raised {
                    " raised"
                } else {
                    ""
                };
                format!("{}{version}:{}{said}", label.source, label.category)
            }));
            if call.operation == "guardrail" {
                self.0.push("guardrail".into());
            }
        }
        fn skipped(&mut self, _: u32) {}
        fn unknown_fields(&mut self, _: u32) {}
    }

    fn labels(format: &dyn Format, message: &str) -> Vec<String> {
        let options = Options::new(1 << 20, 64, UserKey::new([0; 32]));
        let mut labels = Labels::default();
        format.decode(message.as_bytes(), &mut Scratch::new(options), &mut labels).unwrap();
        labels.0
    }

    fn of(moderation: &str) -> Vec<String> {
        labels(&LeewayJson, &format!(r#"{{"time":1795225535,"moderation":{moderation}}}"#))
    }

    #[test]
    fn each_service_is_read_in_its_own_form() {
        let openai = r#"{"model":"omni-moderation-2024-09-26","results":[{"flagged":true,"categories":{"hate":false,"self-harm/intent":true,"violence":true}}]}"#;
        assert_eq!(
            of(openai),
            [
                "openai@omni-moderation-2024-09-26:self-harm/intent raised",
                "openai@omni-moderation-2024-09-26:violence raised"
            ]
        );
        assert_eq!(
            of(r#"{"results":[{"flagged":false,"categories":{"hate":false}}]}"#),
            ["openai:flagged"],
            "judged, and safe"
        );
        let azure = r#"{"prompt_filter_results":[{"content_filter_results":{"jailbreak":{"detected":true,"filtered":false}}}],"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"violence":{"filtered":true,"severity":"high"},"new_thing":{"filtered":true}}}]}"#;
        assert_eq!(of(azure), ["azure:jailbreak raised", "azure:hate", "azure:violence blocked"]);
        let bedrock = r#"{"action":"GUARDRAIL_INTERVENED","assessments":[{"contentPolicy":{"filters":[{"type":"MISCONDUCT","confidence":"HIGH","action":"BLOCKED"}]},"sensitiveInformationPolicy":{"piiEntities":[{"type":"EMAIL","match":"jane@acme.io","action":"ANONYMIZED"}]}}]}"#;
        assert_eq!(of(bedrock), ["bedrock:MISCONDUCT blocked", "bedrock:sensitive_information raised"]);
        let trace = r#"{"inputAssessment":{"gr-1":{"topicPolicy":{"topics":[{"name":"jane@acme.io","type":"DENY","action":"BLOCKED"}]}}},"outputAssessments":{"gr-1":[{}]}}"#;
        assert_eq!(of(trace), ["bedrock:denied_topic blocked", "bedrock:none"]);
    }

    #[test]
    fn what_is_no_services_answer_is_a_wrong_type() {
        let options = Options::new(1 << 20, 64, UserKey::new([0; 32]));
        struct Refused(Option<Reject>);
        impl Sink for Refused {
            fn record(&mut self, _: u32, decoded: Result<Event<'_>, Reject>) {
                self.0 = decoded.err();
            }
            fn skipped(&mut self, _: u32) {}
            fn unknown_fields(&mut self, _: u32) {}
        }
        let mut refused = Refused(None);
        let message = br#"{"time":1795225535,"moderation":{"what":1}}"#;
        LeewayJson.decode(message, &mut Scratch::new(options), &mut refused).unwrap();
        assert_eq!(refused.0, Some(Reject::WrongType("moderation")));
    }

    #[test]
    fn a_llama_guards_answer_is_a_verdict() {
        let call = |model: &str, output: &str| {
            labels(
                &LeewayJson,
                &format!(
                    r#"{{"time":1795225535,"request_model":"{model}","text":{{"input":"q","output":"{output}"}}}}"#
                ),
            )
        };
        assert_eq!(
            call("meta-llama/Llama-Guard-3-8B", "\\n\\nunsafe\\nS1,S10"),
            ["llama-guard@3:S1 raised", "llama-guard@3:S10 raised", "guardrail"]
        );
        assert_eq!(call("meta-llama/llama_guard_4", "safe"), ["llama-guard@4:none", "guardrail"]);
        assert_eq!(call("llama-guard", "I am not sure"), [] as [&str; 0]);
        assert_eq!(call("gpt-4o", "safe"), [] as [&str; 0]);
    }

    #[test]
    fn litellm_tells_of_its_guardrails() {
        let of = |more: &str| {
            labels(
                &LiteLlm,
                &format!(
                    r#"{{"call_type":"acompletion","litellm_call_id":"a","endTime":1795225535.5,"status":"success",{more}}}"#
                ),
            )
        };
        let ran = r#""guardrail_information":[{"guardrail_name":"ours","guardrail_provider":"bedrock","guardrail_status":"guardrail_intervened","guardrail_response":{"assessments":[{"contentPolicy":{"filters":[{"type":"HATE","action":"BLOCKED"}]}}]}},{"guardrail_name":"pii","guardrail_status":"success"},{"guardrail_name":"x","guardrail_status":"guardrail_failed_to_respond"}]"#;
        assert_eq!(of(ran), ["bedrock:HATE blocked", "pii:guardrail"]);
        let azure =
            r#""response":{"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"low"}}}]}"#;
        assert_eq!(of(azure), ["azure:hate raised"]);
    }
}
