import CanonicalJSON

/// The contents of a `tokenizer_config.json` besides the vocabulary, with those of the files beside it that older
/// repositories have.
public struct TokenizerConfiguration: Sendable {
  struct AddedToken: Equatable {
    var id: Int
    var content: String
    var isSpecial: Bool
    /// How the token is found; `normalized` when that is in normalized text.
    var options: AddedTokenOptions
  }

  /// In the order of their ids.
  var addedTokens: [AddedToken] = []
  /// They are those of `added_tokens.json`, which a `tokenizer.json` overrides.
  private var areAddedTokensOlder = false
  var beginOfText: String?
  var endOfText: String?
  var legacy: Bool?
  var addsPrefixSpace: Bool?
  /// Whether the begin-of-text token is put in front of texts; nil when the configuration leaves it to other files.
  var putsBeginInFront: Bool?
  /// Whether an end-of-text token is put behind texts.
  var putsEndBehind = false
  /// Whether the class of the tokenizer is LLaMA's, which puts its begin-of-text token in front; true when no class is
  /// named.
  var isOfLlamaClass = true
  /// The chat templates, in Jinja, in the order in which they stand there. A single one has the name `default`.
  public internal(set) var chatTemplates: [(name: String, text: String)] = []
  /// The spellings of the special tokens that templates refer to by name, such as `bos_token`. Each is there once;
  /// only `additional_special_tokens` may have more than one spelling.
  public internal(set) var specialTokenSpellings: [(key: String, spellings: [String])] = []

  /// The names that special tokens have.
  static let specialTokenKeys = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    "additional_special_tokens",
  ]

  /// The chat template if it is a single one or one of several is named `default`.
  public var chatTemplate: String? { chatTemplates.first { $0.name == "default" }?.text }

  /// Reads a `tokenizer_config.json`. Unknown members are ignored.
  /// - Parameters:
  ///   - specialTokensMap: the `special_tokens_map.json` beside it. As in transformers, it counts only when the
  ///     configuration has no `added_tokens_decoder`, and then its names go before those of the configuration.
  ///   - addedTokens: the `added_tokens.json` beside it, which counts under the same condition.
  /// - Throws: `TokenizerError`, see Formats/tokenizer.md.
  public init(
    parsing text: [UInt8], specialTokensMap: [UInt8]? = nil, addedTokens addedTokensFile: [UInt8]? = nil
  ) throws(TokenizerError) {
    let root = try Self.json(text, structure: "configuration")
    guard root.object != nil else { throw TokenizerError(.malformed, "configuration", "it is not an object") }
    let decoder = root["added_tokens_decoder"]?.object
    for member in decoder ?? [] {
      let structure = "added_tokens_decoder, \(member.key)"
      guard let id = Int(member.key) else { throw TokenizerError(.malformed, structure, "the key is not a token id") }
      addedTokens.append(try AddedToken(member.value, id: id, structure: structure))
    }
    var older: JSONValue?
    if decoder == nil, let specialTokensMap {
      older = try Self.json(specialTokensMap, structure: "special_tokens_map.json")
    }
    for key in Self.specialTokenKeys {
      let value = older?[key] ?? root[key]
      let spellings = (value?.array ?? value.map { [$0] } ?? []).compactMap(Self.tokenName)
      if !spellings.isEmpty { specialTokenSpellings.append((key, spellings)) }
    }
    if let extra = root["extra_special_tokens"]?.array?.compactMap(Self.tokenName), !extra.isEmpty,
      !specialTokenSpellings.contains(where: { $0.key == "additional_special_tokens" })
    {
      // The name that newer files have for them.
      specialTokenSpellings.append(("additional_special_tokens", extra))
    }
    if decoder == nil, let addedTokensFile {
      try readAddedTokens(addedTokensFile)
      areAddedTokensOlder = true
    }
    addedTokens.sort { $0.id < $1.id }
    beginOfText = specialTokenSpellings.first { $0.key == "bos_token" }?.spellings.first
    endOfText = specialTokenSpellings.first { $0.key == "eos_token" }?.spellings.first
    legacy = root["legacy"]?.boolean
    addsPrefixSpace = root["add_prefix_space"]?.boolean
    let addsBegin = root["add_bos_token"]?.boolean
    let addsEnd = root["add_eos_token"]?.boolean
    if addsBegin != nil || addsEnd != nil { putsBeginInFront = addsBegin ?? false }
    putsEndBehind = addsEnd ?? false
    isOfLlamaClass = root["tokenizer_class"]?.string.map { $0.contains("Llama") } ?? true
    if let template = root["chat_template"]?.string {
      chatTemplates = [("default", template)]
    } else {
      for entry in root["chat_template"]?.array ?? [] {
        guard let name = entry["name"]?.string, let template = entry["template"]?.string else { continue }
        chatTemplates.append((name, template))
      }
    }
  }

  /// Reads an `added_tokens.json`: spellings and their ids. Those with a name are special.
  private mutating func readAddedTokens(_ text: [UInt8]) throws(TokenizerError) {
    let root = try Self.json(text, structure: "added_tokens.json")
    // Swift's strings are equal when their characters are; spellings are equal when their bytes are.
    let named = Set(specialTokenSpellings.flatMap(\.spellings).map { Array($0.utf8) })
    for member in root.object ?? [] {
      guard let id = member.value.integer, !member.key.isEmpty else {
        throw TokenizerError(.malformed, "added_tokens.json", "the id of \"\(member.key)\" is not an integer")
      }
      let isSpecial = named.contains(Array(member.key.utf8))
      addedTokens.append(
        AddedToken(id: id, content: member.key, isSpecial: isSpecial, options: isSpecial ? [] : .normalized))
    }
  }

  static func json(_ text: [UInt8], structure: String) throws(TokenizerError) -> JSONValue {
    guard text.count <= TokenizerLimits.jsonByteCount else {
      throw TokenizerError(.tooLarge, structure, "\(text.count) bytes exceed \(TokenizerLimits.jsonByteCount)")
    }
    do {
      return try JSONValue(parsingFile: text)
    } catch {
      throw TokenizerError(.malformed, structure, "\(error)")
    }
  }

  private static func tokenName(_ value: JSONValue?) -> String? { value?.string ?? value?["content"]?.string }

  /// Adds the tokens to the vocabulary of a `tokenizer.model` and names those that start and end texts.
  /// - Parameter firstRenamed: the special tokens from this one on take the names given here. Others that the
  ///   vocabulary names differently keep the vocabulary's name.
  func apply(
    to definition: inout TokenizerDefinition, renamingFrom firstRenamed: Int32? = nil, _ notes: inout [String]
  ) throws(TokenizerError) {
    var renamed: [Int: [UInt8]] = [:]
    for token in addedTokens {
      let structure = "added token \(token.id)"
      let content = Array(token.content.utf8)
      guard token.id >= 0, token.id < TokenizerLimits.symbolCount else {
        throw TokenizerError(
          .tooLarge, structure, "it is past the \(TokenizerLimits.symbolCount) ids that are known")
      }
      let options = token.options.subtracting(.normalized)
      if token.id >= definition.pieces.count {
        guard definition.extraCharacters.isEmpty || token.id < TokenizerLimits.symbolCount else { continue }
        definition.appendAdded(content, token.isSpecial ? .control : .userDefined, at: token.id)
        if definition.unit == .bytes { definition.flags.insert(.splitsAtUserDefined) }
      } else if let firstRenamed, token.id >= Int(firstRenamed) {
        renamed[token.id] = content
      } else if definition.kinds[token.id] == .byte {
        continue
      } else if !definition.pieces[token.id].elementsEqual(content) {
        let piece = String(decoding: definition.pieces[token.id], as: UTF8.self)
        notes.append(
          "tokenizer.model and the files beside it disagree about token \(token.id): \"\(piece)\" is taken, "
            + "\"\(token.content)\" is left out")
        continue
      }
      if !options.isEmpty, [.control, .userDefined].contains(definition.kinds[token.id]) {
        definition.options[Int32(token.id)] = options
      }
    }
    if !renamed.isEmpty {
      var pieces = PieceList()
      for index in 0..<definition.pieces.count { pieces.append(renamed[index] ?? Array(definition.pieces[index])) }
      definition.pieces = pieces
    }
    nameSpecialTokens(of: &definition, &notes)
    if putsBeginInFront == false { definition.beginOfText = nil }
    try refuseEnd()
  }

  /// Puts the added tokens of the configuration in the place of those of a `tokenizer.json`, as transformers does: by
  /// their spellings. A new one comes after all others, whatever its id.
  func mergeAddedTokens(
    into tokens: inout [AddedToken], vocabulary: [JSONValue.Member], _ notes: inout [String]
  ) throws(TokenizerError) {
    try refuseEnd()
    var known = Dictionary(
      tokens.indices.map { (Array(tokens[$0].content.utf8), $0) }, uniquingKeysWith: { first, _ in first })
    let wanted = addedTokens.map(\.content) + specialTokenSpellings.flatMap(\.spellings)
    let missing = Set(wanted.map { Array($0.utf8) }).subtracting(known.keys)
    var vocabularyIds: [[UInt8]: Int] = [:]
    if !missing.isEmpty {
      for member in vocabulary {
        let spelling = Array(member.key.utf8)
        if missing.contains(spelling) { vocabularyIds[spelling] = member.value.integer }
      }
    }
    var next = max(
      (tokens.map(\.id).max() ?? -1) + 1, (vocabulary.compactMap(\.value.integer).max() ?? -1) + 1)
    let files = "tokenizer.json and tokenizer_config.json disagree about \""
    for token in addedTokens {
      var token = token
      let listed = token.id
      let spelling = Array(token.content.utf8)
      if let index = known[spelling] {
        token.id = tokens[index].id
        if areAddedTokensOlder {
          token = tokens[index]
        } else if token.isSpecial != tokens[index].isSpecial || token.options != tokens[index].options {
          notes.append("\(files)\(token.content)\": how tokenizer_config.json finds it in a text is taken")
        }
        tokens[index] = token
      } else {
        if let id = vocabularyIds[spelling] {
          token.id = id
        } else {
          token.id = next
          next += 1
        }
        known[spelling] = tokens.count
        tokens.append(token)
      }
      if token.id != listed {
        notes.append("\(files)\(token.content)\": the id \(token.id) is taken, not \(listed)")
      }
    }
    // A token with a name is special.
    for (_, spellings) in specialTokenSpellings {
      for spelling in spellings {
        if let index = known[Array(spelling.utf8)] {
          tokens[index].isSpecial = true
        } else if let id = vocabularyIds[Array(spelling.utf8)] {
          known[Array(spelling.utf8)] = tokens.count
          tokens.append(AddedToken(id: id, content: spelling, isSpecial: true, options: []))
        }
      }
    }
  }

  private func refuseEnd() throws(TokenizerError) {
    guard putsEndBehind else { return }
    throw TokenizerError(.unsupported, "tokenizer_config.json", "add_eos_token: a token is put behind texts")
  }

  /// Names the tokens that start and end texts.
  func nameSpecialTokens(of definition: inout TokenizerDefinition, _ notes: inout [String]) {
    if let beginOfText {
      if let token = definition.special(beginOfText) {
        definition.beginOfText = token
      } else {
        notes.append("bos_token: \"\(beginOfText)\" is not in the vocabulary and is left out")
      }
    }
    if let endOfText {
      if let token = definition.special(endOfText) {
        definition.endOfText = [token] + definition.endOfText.filter { $0 != token }
      } else {
        notes.append("eos_token: \"\(endOfText)\" is not in the vocabulary and is left out")
      }
    }
  }
}

extension TokenizerConfiguration.AddedToken {
  init(_ value: JSONValue, id: Int, structure: String) throws(TokenizerError) {
    guard let content = value["content"]?.string, !content.isEmpty else {
      throw TokenizerError(.malformed, structure, "it has no content")
    }
    self.id = id
    self.content = content
    isSpecial = value["special"]?.boolean ?? false
    options = []
    if value["lstrip"]?.boolean == true { options.insert(.stripsLeft) }
    if value["rstrip"]?.boolean == true { options.insert(.stripsRight) }
    if value["single_word"]?.boolean == true { options.insert(.singleWord) }
    if value["normalized"]?.boolean ?? !isSpecial { options.insert(.normalized) }
  }
}

extension TokenizerDefinition {
  /// Adds a piece with an id past all others. The ids between have none.
  mutating func appendAdded(_ piece: some Sequence<UInt8>, _ kind: PieceKind, at id: Int) {
    let moved = id + 1 - pieces.count
    let first = UInt32(pieces.count)
    while pieces.count < id { append([], .inert) }
    append(piece, kind)
    // The symbols of extra characters follow the pieces.
    guard !extraCharacters.isEmpty else { return }
    for index in merges.indices {
      if merges[index].left >= first { merges[index].left += UInt32(moved) }
      if merges[index].right >= first { merges[index].right += UInt32(moved) }
    }
  }

  fileprivate func special(_ name: String) -> Int32? {
    let spelling = Array(name.utf8)
    return kinds.indices.first { kinds[$0] == .control && pieces[$0].elementsEqual(spelling) }.map { Int32($0) }
  }

  /// Names the tokens that start and end texts by the spellings that LLaMA models use.
  mutating func adoptUsualNames() {
    adoptUsualBegin()
    adoptUsualEnds()
  }

  mutating func adoptUsualBegin() {
    guard beginOfText == nil else { return }
    let begins = ["<|begin_of_text|>", "<s>"].map { Array($0.utf8) }
    beginOfText = kinds.indices.first { index in
      kinds[index] == .control && begins.contains { pieces[index].elementsEqual($0) }
    }.map { Int32($0) }
  }

  mutating func adoptUsualEnds() {
    let ends = ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "</s>", "<|endoftext|>"].map { Array($0.utf8) }
    for index in kinds.indices where kinds[index] == .control {
      if ends.contains(where: { pieces[index].elementsEqual($0) }), !endOfText.contains(Int32(index)) {
        endOfText.append(Int32(index))
      }
    }
  }
}
