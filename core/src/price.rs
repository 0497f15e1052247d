//! What a call costs by the price book.
//!
//! Prices are i64 nano-dollars per million tokens (10⁻¹⁵ $ a token); a call is summed in i128 and rounded once,
//! half to even, to nano-dollars. A price holds from its date until a newer one of the same key; an unknown model
//! is *unpriced*, never free. Names are looked up exactly (provider and name, then the bare name, then without a
//! date suffix, then without a provider prefix): a wrong price is worse than none.

use std::collections::HashMap;

use thiserror::Error;

use crate::clock::{Micros, parse_rfc3339};
use crate::event::Tokens;
use crate::money::{NanoDollars, divide_half_even, parse_decimal};

const BUILT_IN: &str = include_str!("prices.csv");
const COLUMNS: usize = 13;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("price book line {line}: {problem}")]
pub struct PriceError {
    pub line: usize,
    pub problem: String,
}

/// Nano-dollars per million tokens; `None` falls back as the field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tier {
    input: i64,
    output: i64,
    /// Else `input`.
    cache_read: Option<i64>,
    /// Else `input`.
    cache_write: Option<i64>,
    /// Else `output`.
    reasoning: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Price {
    valid_from: Micros,
    base: Tier,
    /// The whole call moves to the second tier when its input has more tokens than this.
    above: Option<(u64, Tier)>,
}

/// Prices by model name, each with its dates.
#[derive(Debug, Default, Clone)]
pub struct PriceBook {
    /// Key: `provider/model` or the bare `model`; ascending dates.
    prices: HashMap<String, Vec<Price>>,
}

impl PriceBook {
    /// The book that comes with the program; dates and sources stand in its rows.
    pub fn built_in() -> Result<Self, PriceError> {
        Self::parse(BUILT_IN)
    }

    /// Reads CSV: `provider,model,input,output,cache_read,cache_write,reasoning,above_tokens,above_input,above_output,
    /// above_cache_read,valid_from,source` with dollars per million tokens.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let mut book = Self::default();
        for (index, line) in text.lines().enumerate() {
            if index == 0 || line.trim().is_empty() {
                continue;
            }
            let fail = |problem: &str| PriceError { line: index + 1, problem: problem.to_owned() };
            let fields: Vec<&str> = line.split(',').collect();
            if fields.len() != COLUMNS {
                return Err(fail(&format!("expected {COLUMNS} fields, found {}", fields.len())));
            }
            let (keys, price) = parse_row(&fields).map_err(|problem| fail(&problem))?;
            for key in keys {
                book.prices.entry(key).or_default().push(price.clone());
            }
        }
        for prices in book.prices.values_mut() {
            prices.sort_by_key(|price| price.valid_from);
        }
        Ok(book)
    }

    /// Adds `other`, whose rows win over rows of the same key and date.
    pub fn extend(&mut self, other: Self) {
        for (key, prices) in other.prices {
            let slot = self.prices.entry(key).or_default();
            slot.retain(|old| prices.iter().all(|new| new.valid_from != old.valid_from));
            slot.extend(prices);
            slot.sort_by_key(|price| price.valid_from);
        }
    }

    /// The computed cost, `None` where the book has no price for the model at that time.
    pub fn cost(&self, provider: &str, model: &str, at: Micros, tokens: &Tokens) -> Option<NanoDollars> {
        let price = self.find(provider, model, at)?;
        let input = tokens.input.unwrap_or(0);
        let tier = match &price.above {
            Some((limit, tier)) if input > *limit => tier,
            _ => &price.base,
        };
        let read = tokens.cache_read.unwrap_or(0);
        let write = tokens.cache_write.unwrap_or(0);
        let output = tokens.output.unwrap_or(0);
        let reasoning = tokens.reasoning.unwrap_or(0).min(output);
        let fresh = input.saturating_sub(read).saturating_sub(write);
        let part = |count: u64, price: i64| i128::from(count) * i128::from(price);
        let sum = part(fresh, tier.input)
            + part(read, tier.cache_read.unwrap_or(tier.input))
            + part(write, tier.cache_write.unwrap_or(tier.input))
            + part(output - reasoning, tier.output)
            + part(reasoning, tier.reasoning.unwrap_or(tier.output));
        i64::try_from(divide_half_even(sum, 1_000_000)).ok()
    }

    pub fn len(&self) -> usize {
        self.prices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    fn find(&self, provider: &str, model: &str, at: Micros) -> Option<&Price> {
        let bare = model.rsplit_once('/').map_or(model, |(_, name)| name);
        let undated = without_date(model);
        let candidates = [
            format!("{provider}/{model}"),
            model.to_owned(),
            format!("{provider}/{undated}"),
            undated.to_owned(),
            bare.to_owned(),
        ];
        let prices = candidates.iter().find_map(|key| self.prices.get(key.as_str()))?;
        // The oldest row also serves the time before it: the book knows no earlier price.
        let price = prices.iter().rev().find(|price| price.valid_from <= at).or_else(|| prices.first())?;
        // A bare name that two hosts sell at different prices names no price.
        let rivals = prices.iter().filter(|rival| rival.valid_from == price.valid_from);
        rivals.into_iter().all(|rival| rival == price).then_some(price)
    }
}

/// `gpt-4o-2024-08-06` → `gpt-4o`, `claude-sonnet-4-5-20250929` → `claude-sonnet-4-5`.
fn without_date(model: &str) -> &str {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((name, date)) = model.rsplit_once('-')
        && date.len() == 8
        && digits(date)
    {
        return name;
    }
    if model.len() > 11 && model.is_char_boundary(model.len() - 11) {
        let (name, date) = model.split_at(model.len() - 11);
        let parts: Vec<&str> = date.split('-').collect();
        if parts.len() == 4 && parts[0].is_empty() && parts[1].len() == 4 && parts[1..].iter().all(|part| digits(part))
        {
            return name;
        }
    }
    model
}

fn parse_row(fields: &[&str]) -> Result<(Vec<String>, Price), String> {
    let money = |index: usize| match fields[index] {
        "" => Ok(None),
        // Dollars per million tokens: nine decimals give nano-dollars per million tokens.
        text => match parse_decimal(text, 9) {
            Some(price) if price >= 0 => Ok(Some(price)),
            _ => Err(format!("`{text}` is no price in dollars per million tokens")),
        },
    };
    let need = |value: Option<i64>, name: &str| value.ok_or_else(|| format!("{name} is missing"));
    let base = Tier {
        input: need(money(2)?, "input")?,
        output: need(money(3)?, "output")?,
        cache_read: money(4)?,
        cache_write: money(5)?,
        reasoning: money(6)?,
    };
    let above = match fields[7] {
        "" => None,
        text => {
            let limit = text.parse().map_err(|_| format!("`{text}` is no token count"))?;
            let input = need(money(8)?, "above_input")?;
            let output = money(9)?.unwrap_or(base.output);
            Some((limit, Tier { input, output, cache_read: money(10)?, ..base }))
        }
    };
    let valid_from = parse_rfc3339(&format!("{}T00:00:00Z", fields[11]))
        .ok_or_else(|| format!("`{}` is no date (YYYY-MM-DD)", fields[11]))?;
    let (provider, model) = (fields[0], fields[1]);
    if model.is_empty() {
        return Err("model is missing".to_owned());
    }
    let keys = if provider.is_empty() {
        vec![model.to_owned()]
    } else {
        vec![format!("{provider}/{model}"), model.to_owned()]
    };
    Ok((keys, Price { valid_from, base, above }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "provider,model,input,output,cache_read,cache_write,reasoning,above_tokens,above_input,above_output,above_cache_read,valid_from,source\n";

    fn tokens(input: u64, output: u64, cache_read: u64, reasoning: u64) -> Tokens {
        Tokens {
            input: Some(input),
            output: Some(output),
            cache_read: Some(cache_read),
            reasoning: Some(reasoning),
            ..Tokens::default()
        }
    }

    #[test]
    fn cost_follows_the_formula_and_rounds_once() {
        let book = PriceBook::parse(&format!("{HEAD}p,m,2.5,10,1.25,,,,,,,2024-01-01,x\n")).unwrap();
        // 800 fresh × 2.5 + 200 read × 1.25 + 100 × 10 = 3,250 micro-dollars
        assert_eq!(book.cost("p", "m", 0, &tokens(1000, 100, 200, 40)), Some(3_250_000));
        assert_eq!(book.cost("p", "unknown", 0, &tokens(1, 1, 0, 0)), None);
        assert_eq!(book.cost("q", "m-2024-08-06", 0, &tokens(1, 0, 0, 0)), Some(2_500));
        assert_eq!(book.cost("q", "p/m", 0, &tokens(1, 0, 0, 0)), Some(2_500));
    }

    #[test]
    fn prices_hold_from_their_date_and_long_inputs_move_whole() {
        let rows = "p,m,1,2,,,,,,,,2025-01-01,x\np,m,3,4,,,,1000,6,8,,2025-06-01,x\n";
        let book = PriceBook::parse(&format!("{HEAD}{rows}")).unwrap();
        let may = parse_rfc3339("2025-05-31T23:59:59Z").unwrap();
        let june = parse_rfc3339("2025-06-01T00:00:00Z").unwrap();
        assert_eq!(book.cost("p", "m", may, &tokens(1000, 0, 0, 0)), Some(1_000_000));
        assert_eq!(book.cost("p", "m", june, &tokens(1000, 0, 0, 0)), Some(3_000_000));
        assert_eq!(book.cost("p", "m", june, &tokens(1001, 0, 0, 0)), Some(6_006_000));
    }

    #[test]
    fn the_built_in_book_reads_and_knows_the_common_models() {
        let book = PriceBook::built_in().unwrap();
        for (provider, model) in
            [("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("openai", "text-embedding-3-small")]
        {
            assert!(book.cost(provider, model, 0, &tokens(1000, 0, 0, 0)).is_some(), "{model}");
        }
        assert!(book.len() > 300);
    }

    #[test]
    fn a_name_with_two_prices_needs_its_provider() {
        let book =
            PriceBook::parse(&format!("{HEAD}p,m,1,2,,,,,,,,2025-01-01,x\nq,m,9,9,,,,,,,,2025-01-01,x\n")).unwrap();
        assert_eq!(book.cost("q", "m", 0, &tokens(1, 0, 0, 0)), Some(9_000));
        assert_eq!(book.cost("r", "m", 0, &tokens(1, 0, 0, 0)), None);
    }

    #[test]
    fn a_bad_row_names_its_line() {
        let error = PriceBook::parse(&format!("{HEAD}p,m,-1,2,,,,,,,,2025-01-01,x\n")).unwrap_err();
        assert_eq!(error.to_string(), "price book line 2: `-1` is no price in dollars per million tokens");
    }
}
