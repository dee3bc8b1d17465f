import CanonicalJSON

/// The contents of a `tokenizer_config.json` besides the vocabulary.
public struct TokenizerConfiguration: Sendable {
  struct AddedToken {
    var id: Int
    var content: String
    var isSpecial: Bool
    /// Whether the token is matched in normalized text.
    var isNormalized: Bool
  }

  /// In the order of their ids.
  var addedTokens: [AddedToken] = []
  var beginOfText: String?
  var endOfText: String?
  var legacy: Bool?
  var addsPrefixSpace: Bool?
  /// The chat template, in Jinja, if it is a single one or one of several is named `default`.
  public internal(set) var chatTemplate: String?

  /// Reads a `tokenizer_config.json`. Unknown members are ignored.
  /// - Throws: `TokenizerError`, see Formats/tokenizer.md.
  public init(parsing text: [UInt8]) throws(TokenizerError) {
    let root = try Self.json(text, structure: "configuration")
    guard root.object != nil else { throw TokenizerError(.malformed, "configuration", "it is not an object") }
    for member in root["added_tokens_decoder"]?.object ?? [] {
      let structure = "added_tokens_decoder, \(member.key)"
      guard let id = Int(member.key) else { throw TokenizerError(.malformed, structure, "the key is not a token id") }
      addedTokens.append(try AddedToken(member.value, id: id, structure: structure))
    }
    addedTokens.sort { $0.id < $1.id }
    beginOfText = Self.tokenName(root["bos_token"])
    endOfText = Self.tokenName(root["eos_token"])
    legacy = root["legacy"]?.boolean
    addsPrefixSpace = root["add_prefix_space"]?.boolean
    chatTemplate =
      root["chat_template"]?.string
      ?? root["chat_template"]?.array?.first { $0["name"]?.string == "default" }?["template"]?.string
  }

  static func json(_ text: [UInt8], structure: String) throws(TokenizerError) -> JSONValue {
    guard text.count <= TokenizerLimits.jsonByteCount else {
      throw TokenizerError(.tooLarge, structure, "\(text.count) bytes exceed \(TokenizerLimits.jsonByteCount)")
    }
    do {
      return try JSONValue(parsing: text)
    } catch {
      throw TokenizerError(.malformed, structure, "\(error)")
    }
  }

  private static func tokenName(_ value: JSONValue?) -> String? { value?.string ?? value?["content"]?.string }

  /// Adds the tokens to a vocabulary and names those that start and end texts.
  /// - Parameter firstRenamed: the special tokens from this one on take the names given here. The others must have
  ///   them already.
  func apply(to definition: inout TokenizerDefinition, renamingFrom firstRenamed: Int32? = nil) throws(TokenizerError) {
    var renamed: [Int: [UInt8]] = [:]
    for token in addedTokens {
      let structure = "added token \(token.id)"
      let content = Array(token.content.utf8)
      if token.id == definition.pieces.count {
        definition.append(content, token.isSpecial ? .control : .userDefined)
        if definition.unit == .bytes { definition.flags.insert(.splitsAtUserDefined) }
      } else if token.id >= 0, token.id < definition.pieces.count {
        if let firstRenamed, token.id >= Int(firstRenamed) {
          renamed[token.id] = content
        } else if definition.kinds[token.id] != .byte, !definition.pieces[token.id].elementsEqual(content) {
          throw TokenizerError(.malformed, structure, "the vocabulary has another piece there")
        }
      } else {
        throw TokenizerError(.malformed, structure, "tokens before it are missing")
      }
    }
    if !renamed.isEmpty {
      var pieces = PieceList()
      for index in 0..<definition.pieces.count { pieces.append(renamed[index] ?? Array(definition.pieces[index])) }
      definition.pieces = pieces
    }
    if let beginOfText { definition.beginOfText = try definition.special(beginOfText, structure: "bos_token") }
    if let endOfText {
      let token = try definition.special(endOfText, structure: "eos_token")
      definition.endOfText = [token] + definition.endOfText.filter { $0 != token }
    }
  }
}

extension TokenizerConfiguration.AddedToken {
  init(_ value: JSONValue, id: Int, structure: String) throws(TokenizerError) {
    guard let content = value["content"]?.string, !content.isEmpty else {
      throw TokenizerError(.malformed, structure, "it has no content")
    }
    for option in ["single_word", "lstrip", "rstrip"] where value[option]?.boolean == true {
      throw TokenizerError(.unsupported, structure, "the option \(option)")
    }
    self.id = id
    self.content = content
    isSpecial = value["special"]?.boolean ?? false
    isNormalized = value["normalized"]?.boolean ?? !isSpecial
  }
}

extension TokenizerDefinition {
  fileprivate func special(_ name: String, structure: String) throws(TokenizerError) -> Int32 {
    let spelling = Array(name.utf8)
    guard let token = kinds.indices.first(where: { kinds[$0] == .control && pieces[$0].elementsEqual(spelling) })
    else {
      throw TokenizerError(.malformed, structure, "\"\(name)\" is not a special token")
    }
    return Int32(token)
  }

  /// Names the tokens that start and end texts by the spellings that LLaMA models use.
  mutating func adoptUsualNames() {
    let begins = ["<|begin_of_text|>", "<s>"]
    let ends = ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "</s>", "<|endoftext|>"]
    for index in kinds.indices where kinds[index] == .control {
      let name = String(decoding: pieces[index], as: UTF8.self)
      if beginOfText == nil, begins.contains(name) { beginOfText = Int32(index) }
      if ends.contains(name), !endOfText.contains(Int32(index)) { endOfText.append(Int32(index)) }
    }
  }
}
