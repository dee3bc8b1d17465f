import CanonicalJSON

/// How a vocabulary of bytes splits texts before it merges, by the name that a GGUF file has for it in
/// `tokenizer.ggml.pre`: what the `tokenizer.json` of the models of that name says.
package struct GGUFPreTokenizer {
  let normalizer: JSONValue
  let steps: JSONValue
  /// A word that is a token is taken whole, whether merges lead to it or not.
  let ignoresMerges: Bool
  /// Whether the begin-of-text token is put in front where the file does not say.
  let addsBegin: Bool

  /// - Returns: nil for a name that is not known.
  init?(_ name: String) {
    guard let rule = Self.rules.first(where: { $0.names.contains(name) }) else { return nil }
    normalizer = rule.composes.contains(name) ? .members(["type": .string("NFC")]) : .null
    steps = .members(["type": .string("Sequence"), "pretokenizers": .array(rule.steps)])
    ignoresMerges = rule.takesWholeWords
    addsBegin = rule.takesWholeWords
  }

  package static var names: [String] { rules.flatMap(\.names).sorted() }

  private struct Rule {
    let names: [String]
    let steps: [JSONValue]
    var takesWholeWords = false
    /// Those of the names whose texts are put into the form NFC first.
    var composes: [String] = []
  }

  private static let rules: [Rule] = [
    Rule(
      names: ["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2", "midm-2.0"],
      steps: [split(words(numbers: #"\p{N}{1,3}"#)), bytes], takesWholeWords: true),
    Rule(names: ["smaug-bpe", "dbrx"], steps: [split(words(numbers: #"\p{N}{1,3}"#)), bytes]),
    Rule(
      names: ["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"],
      steps: [split(words(numbers: #"\p{N}"#)), bytes], composes: ["qwen2", "deepseek-r1-qwen", "megrez"]),
    Rule(
      names: ["seed-coder"],
      steps: [
        split(
          #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|"#
            + #"\s*[\r\n]+|\s+(?!\S)|\s+"#), bytes,
      ]),
    Rule(
      names: ["gpt-2", "phi-2", "jais", "trillion", "mellum", "gigachat", "a.x-4.0", "mpt", "olmo"],
      steps: [words], composes: ["mpt", "olmo"]),
    Rule(
      names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
      steps: [digits(individual: true), words]),
    Rule(
      names: ["tekken"], steps: [split(casedWords(suffix: "", numbers: #"\p{N}"#)), bytes], takesWholeWords: true),
    Rule(
      names: ["gpt-4o", "llama4"],
      steps: [split(casedWords(suffix: "(?i:'s|'t|'re|'ve|'m|'ll|'d)?", numbers: #"\p{N}{1,3}"#)), bytes]),
    Rule(
      names: ["deepseek-llm"],
      steps: [
        split(#"[\r\n]"#), split(#"\s?["# + letters + "]+"), split(#"\s?[!-/:-~！-／：-～‘-‟　-。]+"#), split(#"\s+$"#),
        split("[一-龥ࠀ-一가-퟿]+"), digits(individual: false), bytes,
      ]),
    Rule(
      names: ["deepseek-coder"],
      steps: [
        split(#"[\r\n]"#), split(#"\s?\p{L}+"#), split(#"\s?\p{P}+"#), split("[一-龥ࠀ-一가-퟿]+"), digits(individual: true),
        bytes,
      ]),
    Rule(
      names: ["deepseek-v3"],
      steps: [
        split(#"\p{N}{1,3}"#), split("[一-龥\u{3040}-ゟ゠-ヿ]+"),
        split(
          ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"##
            + #" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#), bytes,
      ]),
    Rule(
      names: ["falcon"],
      steps: [
        .members(["type": .string("Punctuation"), "behavior": .string("Contiguous")]), words,
        digits(individual: false), split("[0-9][0-9][0-9]"),
      ]),
    Rule(
      names: ["default"],
      steps: [
        split(#"[\p{P}\$\+<=>\^~\|]+"#), split(gpt2), split(#"\p{N}+"#), split("[0-9][0-9][0-9]"), bytes,
      ]),
    Rule(names: ["bloom", "poro", "poro-chat", "gpt3-finnish"], steps: [split(#" ?[^(\s|.,!?…。，、।۔،)]+"#), bytes]),
    Rule(
      names: ["viking"], steps: [split(#" ?[^(\s|.,!?…。，、।۔،)]+"#), digits(individual: true), bytes]),
  ]

  // Components of a `tokenizer.json`.

  private static func split(_ expression: String) -> JSONValue {
    .members([
      "type": .string("Split"), "pattern": .members(["Regex": .string(expression)]), "behavior": .string("Isolated"),
      "invert": .boolean(false),
    ])
  }

  private static func digits(individual: Bool) -> JSONValue {
    .members(["type": .string("Digits"), "individual_digits": .boolean(individual)])
  }

  /// From here on, bytes are the symbols.
  private static let bytes = byteLevel(splitsWords: false)
  /// The same, after words have been split as in GPT-2.
  private static let words = byteLevel(splitsWords: true)

  private static func byteLevel(splitsWords: Bool) -> JSONValue {
    .members([
      "type": .string("ByteLevel"), "add_prefix_space": .boolean(false), "trim_offsets": .boolean(true),
      "use_regex": .boolean(splitsWords),
    ])
  }

  // Expressions.

  private static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private static func words(numbers: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// Words that end before a capital letter.
  private static func casedWords(suffix: String, numbers: String) -> String {
    let capitals = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    let others = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    let front = #"[^\r\n\p{L}\p{N}]?"#
    return "\(front)\(capitals)*\(others)+\(suffix)|\(front)\(capitals)+\(others)*\(suffix)|\(numbers)"
      + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The letters of `deepseek-llm`, without those of scripts that have no case.
  private static let letters =
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥ"
    + "ῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    + "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
}
