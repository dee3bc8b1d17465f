import Tokenization

/// A SentencePiece vocabulary of bytes, letters and digits: a character is a token, and a text starts with a space.
enum TinyTokenizer {
  static func make() throws -> Tokenizer {
    var pieces: [(text: String, type: Int)] = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    for byte in 0..<256 {
      let digits = String(byte, radix: 16, uppercase: true)
      pieces.append(("<0x\(digits.count == 1 ? "0" : "")\(digits)>", 6))
    }
    pieces += "\u{2581}abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:?\"{}-".map { (String($0), 1) }
    var bytes: [UInt8] = []
    for piece in pieces { bytes += field(1, field(1, Array(piece.text.utf8)) + field(3, piece.type)) }
    bytes += field(2, field(3, 2) + field(35, 1))
    bytes += field(3, field(1, Array("identity".utf8)) + field(4, 0))
    return try Tokenizer(sentencePiece: bytes)
  }

  private static func field(_ number: Int, _ value: Int) -> [UInt8] { varint(number << 3) + varint(value) }

  private static func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(bytes.count) + bytes
  }

  private static func varint(_ value: Int) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
  }
}
