//! Values that issuers and documentation publish as examples: found, never counted.

use leeway_core::scan::Entity;

const KNOWN: &[(Entity, &[&str])] = &[
    (
        Entity::Card,
        &[
            "4111111111111111",
            "4242424242424242",
            "4012888888881881",
            "4000056655665556",
            "5555555555554444",
            "5105105105105100",
            "2223003122003222",
            "378282246310005",
            "371449635398431",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
        ],
    ),
    (Entity::UsSsn, &["078051120", "219099999", "123456789"]),
    (Entity::Iban, &["GB82WEST12345698765432", "DE89370400440532013000"]),
    (Entity::UkNhs, &["9434765919"]),
    (Entity::PlPesel, &["44051401359"]),
    (Entity::EsDni, &["12345678Z"]),
    (Entity::EsNie, &["X1234567L"]),
    (Entity::ItCf, &["RSSMRA85T10A562S"]),
    (Entity::BrCpf, &["11144477735"]),
    (Entity::BrCnpj, &["11222333000181", "12ABC34501DE35"]),
    (Entity::CaSin, &["046454286"]),
    (Entity::AuTfn, &["123456782"]),
    (Entity::AuAbn, &["51824753556"]),
    (Entity::SgNric, &["S1234567D"]),
    (Entity::DeIdnr, &["86095742719"]),
    (Entity::NlBsn, &["111222333"]),
    (Entity::SePersonnummer, &["8112289874"]),
    (Entity::FiHetu, &["131052-308T"]),
    (Entity::TrTckn, &["10000000146"]),
    (Entity::CnRic, &["11010519491231002X"]),
    (Entity::Imei, &["490154203237518"]),
    (Entity::Vin, &["1M8GDM9AXKP042788"]),
    (Entity::UsNpi, &["1234567893"]),
    (Entity::UsAbaRouting, &["011000015"]),
    (Entity::Btc, &["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"]),
    (Entity::Eth, &["0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"]),
    (Entity::Secret, &["AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"]),
];

/// Whether the canonical form of a value is a published one.
pub(super) fn known(entity: Entity, canonical: &str) -> bool {
    entity == Entity::Phone && fiction(canonical.as_bytes()) || OF[entity as usize].contains(&canonical)
}

/// By entity.
const OF: [&[&str]; Entity::ALL.len()] = {
    let mut of = [&[] as &[&str]; Entity::ALL.len()];
    let mut row = 0;
    while row < KNOWN.len() {
        assert!(of[KNOWN[row].0 as usize].is_empty(), "one row a kind");
        of[KNOWN[row].0 as usize] = KNOWN[row].1;
        row += 1;
    }
    of
};

/// Phone numbers kept for films and books: North America, Ofcom (London, mobile), ACMA (mobile).
pub(super) fn fiction(digits: &[u8]) -> bool {
    let national =
        |country: &[u8]| digits.strip_prefix(country).or_else(|| digits.strip_prefix(b"0")).unwrap_or(digits);
    let american = digits.strip_prefix(b"1").unwrap_or(digits);
    let (british, australian) = (national(b"44"), national(b"61"));
    american.len() == 10 && &american[3..8] == b"55501"
        || digits.len() == 7 && digits.starts_with(b"55501")
        || british.len() == 10 && (british.starts_with(b"2079460") || british.starts_with(b"7700900"))
        || australian.len() == 9
            && australian.starts_with(b"491570")
            && matches!(&australian[6..], b"006" | b"110" | b"156" | b"157" | b"158" | b"159")
}
