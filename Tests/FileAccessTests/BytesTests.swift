import FileAccess
import Testing

@Suite struct CompressionTests {
  private func bytes(_ count: Int, repeating: Bool) -> [UInt8] {
    var state: UInt32 = 1
    return (0..<count).map { offset in
      state = state &* 1_664_525 &+ 1_013_904_223
      return repeating ? UInt8(offset / 50 % 7) : UInt8(state >> 24)
    }
  }

  @Test(arguments: Compression.allCases, [1, 63, 64, 1000, 300_000]) func roundTrip(_ kind: Compression, count: Int)
    throws
  {
    for repeating in [true, false] {
      let input = bytes(count, repeating: repeating)
      let output = kind.compress(input)
      let span = unsafe output.span.bytes
      #expect(kind.decompress(span, byteCount: count) == input)
      if kind != .none, repeating, count >= 1000 { #expect(output.count < count / 4) }
    }
  }

  /// Frames of unstated length: all of them, whole, and no more than the limit.
  @Test func zstdFiles() {
    let (first, second) = (bytes(300_000, repeating: true), bytes(70_000, repeating: false))
    let file = Compression.zstd.compress(first) + Compression.zstd.compress(second)
    let span = unsafe file.span.bytes
    #expect(Compression.decompressZstdFile(span, limit: 370_000) == first + second)
    #expect(Compression.decompressZstdFile(span, limit: 369_999) == nil)
    #expect(Compression.decompressZstdFile(span.extracting(first: file.count - 1), limit: 1 << 20) == nil)
    #expect(Compression.decompressZstdFile(span.extracting(first: 0), limit: 1 << 20) == nil)
  }

  /// A frame of another length than the geometry's is refused, whatever it claims: a bomb is not unpacked.
  @Test(arguments: [Compression.lz4, .zstd]) func bombs(_ kind: Compression) {
    let bomb = kind.compress([UInt8](repeating: 0, count: 1 << 24))
    #expect(bomb.count < 100_000)
    let span = unsafe bomb.span.bytes
    for count in [0, 1, 1000, 1 << 24 - 1, 1 << 24 + 1] { #expect(kind.decompress(span, byteCount: count) == nil) }
    #expect(kind.decompress(span, byteCount: 1 << 24)?.count == 1 << 24)
  }

  /// Cut or damaged frames are refused or give bytes of the right length: checksums tell those from the true ones.
  @Test(arguments: Compression.allCases) func damage(_ kind: Compression) {
    let frame = kind.compress(bytes(500, repeating: true))
    for length in 0..<frame.count {
      let cut = Array(frame[..<length])
      let span = unsafe cut.span.bytes
      #expect(kind.decompress(span, byteCount: 500) == nil)
    }
    for offset in frame.indices {
      for bit in 0..<8 {
        var flipped = frame
        flipped[offset] ^= 1 << UInt8(bit)
        let span = unsafe flipped.span.bytes
        if let output = kind.decompress(span, byteCount: 500) { #expect(output.count == 500) }
      }
    }
  }
}

@Suite struct BytesTests {
  @Test func fields() throws {
    var writer = ByteWriter()
    writer.integer(UInt8(1))
    writer.integer(UInt32(0x0403_0201))
    writer.integer(Int16(-2))
    writer.pad(to: 8)
    writer.integer(UInt64(77))
    writer.append([9, 9])
    writer.pad(toByteCount: 20)
    let bytes = writer.bytes
    #expect(bytes == [1, 1, 2, 3, 4, 0xFE, 0xFF, 0, 77, 0, 0, 0, 0, 0, 0, 0, 9, 9, 0, 0])
    let span = unsafe bytes.span.bytes
    var reader = ByteReader(span, file: "f", structure: "s")
    let (a, b, c) = (
      try reader.integer(UInt8.self), try reader.integer(UInt32.self), try reader.integer(Int16.self)
    )
    #expect(a == 1 && b == 0x0403_0201 && c == -2)
    try reader.seek(to: 8)
    let (size, rest) = (try reader.size(), try reader.bytes(4))
    #expect(size == 77 && rest == [9, 9, 0, 0])
    #expect(reader.remainingByteCount == 0)
  }

  /// Nothing is read past the end, whatever is asked.
  @Test func readerStays() {
    let bytes: [UInt8] = [1, 2, 3]
    func reading(_ body: (inout ByteReader) throws(Refusal) -> Void) -> String? {
      let span = unsafe bytes.span.bytes
      var reader = ByteReader(span, file: "f", structure: "s")
      do {
        try body(&reader)
        return nil
      } catch {
        return error.description
      }
    }
    #expect(
      reading { (r) throws(Refusal) in _ = try r.integer(UInt32.self) } == "f: s: needs 4 bytes and has 3 [truncated]")
    #expect(reading { (r) throws(Refusal) in _ = try r.bytes(4) } != nil)
    #expect(reading { (r) throws(Refusal) in _ = try r.bytes(-1) } != nil)
    #expect(reading { (r) throws(Refusal) in _ = try r.bytes(.max) } != nil)
    #expect(reading { (r) throws(Refusal) in try r.seek(to: 4) } != nil)
    #expect(reading { (r) throws(Refusal) in try r.seek(to: -1) } != nil)
    #expect(reading { (r) throws(Refusal) in try r.seek(to: 3) } == nil)
  }

  @Test func sizeBeyondSigned() {
    let bytes = [UInt8](repeating: 0xFF, count: 8)
    let span = unsafe bytes.span.bytes
    var reader = ByteReader(span, file: "f", structure: "s")
    var name: String?
    do throws(Refusal) { _ = try reader.size() } catch { name = error.name.text }
    #expect(name == "truncated")
  }

  @Test func checkedSizes() {
    #expect(CheckedSize.product(3, 4, 5) == 60)
    #expect(CheckedSize.product() == 1)
    #expect(CheckedSize.product(.max, 2) == nil)
    #expect(CheckedSize.product(0, -1) == nil)
    #expect(CheckedSize.product(1 << 32, 1 << 31) == nil)
    #expect(CheckedSize.sum(1, 2, 3) == 6)
    #expect(CheckedSize.sum(.max, 1) == nil)
    #expect(CheckedSize.sum(5, -1) == nil)
    #expect(CheckedSize.aligned(65, to: 64) == 128)
    #expect(CheckedSize.aligned(64, to: 64) == 64)
    #expect(CheckedSize.aligned(.max, to: 64) == nil)
    #expect(CheckedSize.aligned(-1, to: 64) == nil)
    #expect(CheckedSize.padding(after: 0, to: 8) == 0)
  }

  @Test func digests() throws {
    let empty = Digest256(of: [])
    #expect(empty.description == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    let abc = Digest256(of: Array("abc".utf8))
    #expect(abc.description == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(Digest256(hexadecimal: abc.description) == abc)
    #expect(Digest256(hexadecimal: abc.description.uppercased()) == nil)
    #expect(Digest256(hexadecimal: String(abc.description.dropLast())) == nil)
    #expect(Digest256(bytes: [1]) == nil)
    #expect(abc < empty)
    var hasher = Hasher256()
    hasher.update([UInt8(ascii: "a")])
    hasher.update(Array("bc".utf8))
    #expect(hasher.finalize() == abc)
  }

  /// The seed and every bit count.
  @Test func blockChecksums() {
    var bytes = (0..<200).map { UInt8($0) }
    func checksum(_ seed: UInt64) -> BlockChecksum { unsafe BlockChecksum(of: bytes.span.bytes, seed: seed) }
    let first = checksum(1)
    #expect(checksum(1) == first)
    #expect(checksum(2) != first)
    for offset in bytes.indices {
      bytes[offset] ^= 4
      #expect(checksum(1) != first)
      bytes[offset] ^= 4
    }
  }
}
