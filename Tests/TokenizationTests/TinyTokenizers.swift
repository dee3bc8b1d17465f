import Tokenization

/// Small tokenizers in each of the formats, built here so that the tests need no files.
enum TinyTokenizers {
  struct Piece {
    var text: String
    var score: Float = 0
    var type: UInt64 = 1
  }

  struct Options {
    var modelType: UInt64 = 2
    var byteFallback = true
    var addsDummyPrefix = true
    var removesExtraSpaces = false
    var escapesSpaces = true
    var treatsSpaceAsSuffix = false
    var characterMap: [UInt8] = []
  }

  // MARK: SentencePiece

  static func varint(_ value: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }

  static func field(_ number: UInt64, _ value: UInt64) -> [UInt8] { varint(number << 3) + varint(value) }

  static func field(_ number: UInt64, _ value: Bool) -> [UInt8] { field(number, value ? 1 : 0) }

  static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
  }

  static func field(_ number: UInt64, float value: Float) -> [UInt8] {
    varint(number << 3 | 5) + (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) }
  }

  static func message(_ piece: Piece) -> [UInt8] {
    field(1, field(1, Array(piece.text.utf8)) + field(2, float: piece.score) + field(3, piece.type))
  }

  static func sentencePiece(_ pieces: [Piece], _ options: Options = Options()) -> [UInt8] {
    let trainer =
      field(3, options.modelType) + field(24, options.treatsSpaceAsSuffix)
      + field(35, options.byteFallback)
    let normalizer =
      field(1, Array("identity".utf8)) + field(2, options.characterMap) + field(3, options.addsDummyPrefix)
      + field(4, options.removesExtraSpaces) + field(5, options.escapesSpaces)
    return pieces.flatMap(message) + field(2, trainer) + field(3, normalizer)
  }

  static let special = [
    Piece(text: "<unk>", type: 2), Piece(text: "<s>", type: 3), Piece(text: "</s>", type: 3),
  ]

  static var bytePieces: [Piece] {
    (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return Piece(text: "<0x\(digits.count == 1 ? "0" : "")\(digits)>", type: 6)
    }
  }

  static let words = ["▁h", "el", "lo", "▁hel", "▁hello", "▁w", "or", "ld", "▁wor", "▁world", "▁▁"]

  /// LLaMA-2 in small: ids 0...2 are special, 3...258 are bytes, then words, then characters.
  static var llama2Pieces: [Piece] {
    special + bytePieces + words.enumerated().map { Piece(text: $0.element, score: -Float($0.offset)) }
      + "▁helowrd".map { Piece(text: String($0), score: -100) }
  }

  static var llama2: [UInt8] { sentencePiece(llama2Pieces) }

  // MARK: tiktoken

  static func base64(_ bytes: [UInt8]) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var text = ""
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let chunk = bytes[start..<min(start + 3, bytes.count)]
      let bits = (0..<3).reduce(UInt32(0)) { $0 << 8 | UInt32($1 < chunk.count ? chunk[start + $1] : 0) }
      for index in 0..<4 {
        text.append(index <= chunk.count ? digits[Int(bits >> (18 - 6 * UInt32(index)) & 63)] : "=")
      }
    }
    return text
  }

  static let byteWords = ["he", "ll", "hell", "hello", " w", "or", " wor", "ld", " world", "\n\n", "  ", "12"]

  /// LLaMA-3 in small: the bytes, some words, 256 special tokens.
  static var llama3: [UInt8] {
    let pieces = (0..<256).map { [UInt8($0)] } + byteWords.map { Array($0.utf8) }
    return Array(pieces.enumerated().map { "\(base64($0.element)) \($0.offset)\n" }.joined().utf8)
  }

  // MARK: tokenizer.json

  static let alphabet: [Character] = {
    var following: UInt32 = 0x100
    return (0..<256).map { (byte: UInt32) in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return character(byte)
      default:
        following += 1
        return character(following - 1)
      }
    }
  }()

  private static func character(_ value: UInt32) -> Character {
    Unicode.Scalar(value).map { Character($0) } ?? "?"
  }

  static func quoted(_ text: String) -> String {
    var output = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": output += "\\\(scalar)"
      case "\n": output += "\\n"
      default: output.unicodeScalars.append(scalar)
      }
    }
    return output + "\""
  }

  static let llama3PreTokenizer = #"""
    {"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}
    """#
  static let metaspace =
    #"{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}"#
  static let stripDecoder =
    #"{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}"#
  static let prependNormalizer =
    #"{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}"#

  /// A `tokenizer.json` over bytes. Its vocabulary is that of `llama3`.
  static func byteLevelJSON(
    preTokenizer: String = llama3PreTokenizer, normalizer: String = "null", model: String = #""ignore_merges":true"#,
    added: String =
      #"{"id":268,"content":"<|begin_of_text|>","special":true},{"id":269,"content":"<|eot_id|>","special":true}"#
  ) -> [UInt8] {
    func spelled(_ word: String) -> String { String(word.utf8.map { alphabet[Int($0)] }) }
    let pieces = alphabet.map { String($0) } + byteWords.map(spelled)
    let vocabulary = pieces.enumerated().map { "\(quoted($0.element)):\($0.offset)" }.joined(separator: ",")
    let merges = [
      ("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), (" ", "w"), ("o", "r"), (" w", "or"), ("l", "d"),
      (" wor", "ld"), ("\n", "\n"), (" ", " "), ("1", "2"),
    ].map { "[\(quoted(spelled($0.0))),\(quoted(spelled($0.1)))]" }.joined(separator: ",")
    return Array(
      """
      {"version":"1.0","truncation":null,"padding":null,"added_tokens":[\(added)],"normalizer":\(normalizer),
      "pre_tokenizer":\(preTokenizer),"post_processor":null,"decoder":{"type":"ByteLevel"},
      "model":{"type":"BPE","dropout":null,\(model),"vocab":{\(vocabulary)},"merges":[\(merges)]}}
      """.utf8)
  }

  /// A `tokenizer.json` over characters. Its vocabulary is that of `llama2`.
  static func characterJSON(
    preTokenizer: String = metaspace, normalizer: String = "null", model: String = #""byte_fallback":true"#,
    decoder: String = stripDecoder
  ) -> [UInt8] {
    let vocabulary = llama2Pieces.enumerated().map { "\(quoted($0.element.text)):\($0.offset)" }.joined(separator: ",")
    let merges = [
      "▁ h", "e l", "l o", "▁h el", "▁hel lo", "▁ w", "o r", "l d", "▁w or", "▁wor ld", "▁ ▁",
    ].map(quoted).joined(separator: ",")
    let added = ["<unk>", "<s>", "</s>"].enumerated().map {
      #"{"id":\#($0.offset),"content":"\#($0.element)","special":true,"normalized":false}"#
    }.joined(separator: ",")
    return Array(
      """
      {"added_tokens":[\(added)],"normalizer":\(normalizer),"pre_tokenizer":\(preTokenizer),"post_processor":null,
      "decoder":\(decoder),"model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,\(model),
      "vocab":{\(vocabulary)},"merges":[\(merges)]}}
      """.utf8)
  }
}
