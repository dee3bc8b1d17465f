import CanonicalJSON
import FileAccess
import Glibc
import ModelPacks
import Testing

/// Whatever is changed in a pack, and signed again, is found out or harmless: nothing traps, nothing is endless, and
/// tensors lie in the file. SHAREDPACK_FUZZ says how many packs each test makes; without it, as many as take some seconds.
@Suite struct HostilePackTests {
  private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
    }
  }

  private static func executions(_ count: Int) -> Int {
    unsafe getenv("SHAREDPACK_FUZZ").flatMap { unsafe Int(String(cString: $0)) } ?? count
  }

  private static let numbers: [UInt64] = [
    0, 1, 2, 3, 63, 64, 4095, 4096, 1 << 20, 1 << 31, 1 << 32 - 1, 1 << 32, 1 << 62, 1 << 63 - 1, 1 << 63, .max - 63,
    .max,
  ]

  // MARK: Fields

  /// A field of a pack has a number that it should not have; all digests are right.
  @Test func fields() throws {
    let scratch = try Scratch()
    var random = Random(state: 1)
    var outcomes: [String: Int] = [:]
    for _ in 0..<Self.executions(2_000) {
      var pack = RawPack.example()
      for _ in 0..<Int.random(in: 1...2, using: &random) { Self.change(&pack, &random) }
      try Self.use(pack.assembled(), in: scratch, &outcomes)
    }
    #expect(outcomes["none"] ?? 0 > 20 && outcomes.count > 12, "\(outcomes)")
    #expect(outcomes["digest-mismatch"] ?? 0 < outcomes.values.reduce(0, +) / 4, "\(outcomes)")
  }

  private static func change(_ pack: inout RawPack, _ random: inout Random) {
    let number = numbers.randomElement(using: &random) ?? 0
    let small = UInt32(truncatingIfNeeded: number)
    let entry = Int.random(in: pack.entries.indices, using: &random)
    switch Int.random(in: 0..<20, using: &random) {
    case 0: pack.entries[entry].rows = number
    case 1: pack.entries[entry].columns = number
    case 2: pack.entries[entry].byteOffset &+= number
    case 3: pack.entries[entry].byteCount = number
    case 4: pack.entries[entry].groupSize = small
    case 5: pack.entries[entry].encoding = UInt32.random(in: 0...5, using: &random)
    case 6: pack.entries[entry].nameOffset = small
    case 7: pack.entries.swapAt(entry, Int.random(in: pack.entries.indices, using: &random))
    case 8: pack.entries.remove(at: entry)
    case 9: pack.entries.insert(pack.entries[entry], at: 0)
    case 10: pack.entryByteCount = small
    case 11: pack.fileByteCount = number
    case 12: pack.headerByteCount = small
    case 13: pack.data.removeLast(Int.random(in: 0...pack.data.count, using: &random))
    case 14: pack.namesTail = [UInt8](repeating: 120, count: Int.random(in: 0...9, using: &random))
    case 15: if Bool.random(using: &random) { pack.tokenizer = nil } else { pack.chatTemplate = [0xFF] }
    case 16:
      let (which, field) = (Int.random(in: 0..<5, using: &random), Int.random(in: 0..<4, using: &random))
      pack.editSections = { sections in
        guard which < sections.count else { return }
        switch field {
        case 0: sections[which].kind = small
        case 1: sections[which].flags = small
        case 2: sections[which].byteOffset = number
        default: sections[which].byteCount = number
        }
      }
    default: changeMetadata(&pack.metadata, &random)
    }
  }

  /// Another number or word in the metadata, in the canonical spelling where there is one.
  private static func changeMetadata(_ metadata: inout [UInt8], _ random: inout Random) {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    let starts = metadata.indices.filter { digits.contains(metadata[$0]) && !digits.contains(metadata[$0 - 1]) }
    guard let start = starts.randomElement(using: &random), Int.random(in: 0..<4, using: &random) > 0 else {
      metadata[Int.random(in: metadata.indices, using: &random)] = UInt8.random(in: 32...126, using: &random)
      return
    }
    let end = metadata[start...].firstIndex { !digits.contains($0) } ?? metadata.endIndex
    let text: [String] = ["-1", "1e308", "1e-320", "0.5", "null", "[]", "\"x\"", "9223372036854775808"]
    let new =
      Bool.random(using: &random)
      ? "\(numbers.randomElement(using: &random) ?? 0)" : text.randomElement(using: &random) ?? "0"
    metadata.replaceSubrange(start..<end, with: Array(new.utf8))
    if let json = try? JSONValue(parsing: metadata, depthLimit: 8) { metadata = json.canonical }
  }

  // MARK: Bytes

  /// Bytes of a pack are others, and every digest that was there is made right again.
  @Test func bytes() throws {
    let scratch = try Scratch()
    let original = RawPack.example().assembled()
    let index = try #require(try ModelPack(opening: scratch.write(original)).tensors.first).byteOffset
    var random = Random(state: 2)
    var outcomes: [String: Int] = [:]
    for _ in 0..<Self.executions(2_000) {
      var bytes = original
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        // Most of a small pack is padding.
        let filled = bytes.indices.filter { bytes[$0] != 0 || $0 < 416 }
        let offset = filled.randomElement(using: &random) ?? 0
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[offset] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes[offset] &+= UInt8.random(in: 0...2, using: &random) &- 1
        case 3:
          let number = Self.numbers.randomElement(using: &random) ?? 0
          let start = offset / 4 * 4
          for byte in 0..<(Bool.random(using: &random) ? 8 : 4) where start + byte < bytes.count {
            bytes[start + byte] = UInt8(truncatingIfNeeded: number >> (8 * UInt64(byte)))
          }
        default:
          let count = min(Int.random(in: 1...16, using: &random), bytes.count - offset)
          let source = Int.random(in: 0...index - count, using: &random)
          bytes.replaceSubrange(offset..<offset + count, with: Array(bytes[source..<source + count]))
        }
      }
      if Int.random(in: 0..<12, using: &random) == 0 {
        bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
      }
      Self.sign(&bytes, as: original)
      try Self.use(bytes, in: scratch, &outcomes)
    }
    #expect(outcomes["none"] ?? 0 > 20 && outcomes.count > 8, "\(outcomes)")
    #expect(outcomes["digest-mismatch"] ?? 0 < outcomes.values.reduce(0, +) / 2, "\(outcomes)")
  }

  /// Makes the digests of sections and the identity right, where the original has them.
  static func sign(_ bytes: inout [UInt8], as original: [UInt8]) {
    func number(_ offset: Int) -> Int { original[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | Int($1) } }
    let sectionCount = Int(original[40])
    let header = 96 + 64 * sectionCount
    guard bytes.count >= header else { return }
    for section in 0..<sectionCount - 1 {
      let entry = 96 + 64 * section
      let range = number(entry + 8)..<number(entry + 8) + number(entry + 16)
      guard range.upperBound <= bytes.count else { continue }
      bytes.replaceSubrange(entry + 24..<entry + 56, with: Digest256(of: Array(bytes[range])).bytes)
    }
    bytes.replaceSubrange(64..<96, with: [UInt8](repeating: 0, count: 32))
    bytes.replaceSubrange(64..<96, with: Digest256(of: Array(bytes[..<header])).bytes)
  }

  // MARK: Use

  /// Everything that reads a pack.
  private static func use(_ bytes: [UInt8], in scratch: Scratch, _ outcomes: inout [String: Int]) throws {
    let path = try scratch.write(bytes)
    let started = ContinuousClock.now
    var outcome = "none"
    do throws(Refusal) {
      let pack = try ModelPack(opening: path)
      var sum = 0
      for tensor in pack.tensors {
        #expect(tensor.byteOffset >= 0 && tensor.byteOffset + tensor.byteCount <= pack.byteCount)
        unsafe sum += pack.unsafeBytes(of: tensor).reduce(0) { $0 &+ Int($1) }
      }
      _ = (sum, pack.tokenizer, pack.chatTemplate, pack.reading, pack.sharedLLM, pack.provenance)
      try pack.verify()
      _ = try pack.write(to: "\(scratch.path)/again.spk", reading: PackReading(chunkSize: 64, chunkCount: 1))
      try ModelPack(opening: "\(scratch.path)/again.spk").verify()
    } catch {
      outcome = error.name.text
    }
    outcomes[outcome, default: 0] += 1
    #expect(ContinuousClock.now - started < .seconds(20))
  }
}
