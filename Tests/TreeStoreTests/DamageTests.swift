import ContextTrees
import FileAccess
import Glibc
import NodeBlocks
import Testing

@testable import TreeStore

/// Damage behind which the digests were not updated: flipped bits, lost ends. Never a wrong answer, never a dead
/// process.
@Suite struct DamageTests {
  /// - Parameter headDim: 4 makes a store of about 4 KB, 280 one of about 32 KB.
  private func store(headDim: Int) throws -> Workplace {
    let workplace = try Workplace()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try Fixture.configuration(headDim: headDim), segmentByteLimit: 1 << 30,
      salt: 3)
    try writer.add(document: "a", [Fixture.tokens(1), Fixture.tokens(2, count: 5)])
    try writer.add(document: "b", [Fixture.tokens(3)], compression: .zstd, compressible: true)
    try writer.commit()
    return workplace
  }

  private func opensAndVerifies(_ workplace: Workplace) -> Bool {
    refusal { () throws(Refusal) in try TreeStore(opening: workplace.store).verify { _, _ in } } == nil
  }

  private func flip(_ bits: (Int) -> [Int], headDim: Int) throws -> Int {
    let workplace = try store(headDim: headDim)
    try #require(opensAndVerifies(workplace))
    var tried = 0
    for path in try workplace.files() {
      let bytes = try Surgery.read(path)
      _ = unsafe chmod(path, 0o600)
      let descriptor = unsafe open(path, O_RDWR)
      try #require(descriptor >= 0)
      defer { close(descriptor) }
      for (offset, byte) in bytes.enumerated() {
        for bit in bits(offset) {
          var flipped = byte ^ 1 << UInt8(bit)
          try #require(unsafe pwrite(descriptor, &flipped, 1, off_t(offset)) == 1)
          if opensAndVerifies(workplace) { Issue.record("bit \(bit) of byte \(offset) of \(path) is not missed") }
          tried += 1
        }
        var original = byte
        try #require(unsafe pwrite(descriptor, &original, 1, off_t(offset)) == 1)
      }
    }
    #expect(opensAndVerifies(workplace))
    return tried
  }

  @Test func everyBitOfASmallStore() throws {
    #expect(try flip({ _ in Array(0..<8) }, headDim: 4) > 8 * 3_000)
  }

  @Test func aBitOfEveryByte() throws {
    #expect(try flip({ [$0 % 8] }, headDim: 64) > 9_000)
  }

  /// All bits of a larger store, which takes minutes.
  @Test(
    .enabled(if: unsafe getenv("SHAREDPACK_EXHAUSTIVE") != nil, "SHAREDPACK_EXHAUSTIVE is not set"),
    .timeLimit(.minutes(60)))
  func everyBitOfALargeStore() throws {
    #expect(try flip({ _ in Array(0..<8) }, headDim: 280) > 8 * 30_000)
  }

  /// Every length but the right one, of every file, from none to 64 bytes more.
  @Test func everyLength() throws {
    let workplace = try store(headDim: 4)
    for path in try workplace.files() {
      let bytes = try Surgery.read(path)
      _ = unsafe chmod(path, 0o600)
      for length in 0...bytes.count + 64 where length != bytes.count {
        if length > bytes.count {
          try #require(unsafe truncate(path, off_t(length)) == 0)
        } else {
          try Surgery.write(Array(bytes[..<length]), to: path)
        }
        if opensAndVerifies(workplace) { Issue.record("\(length) bytes of \(path) are accepted") }
      }
      try Surgery.write(bytes, to: path)
      #expect(opensAndVerifies(workplace))
    }
  }

  /// A damaged block is refused when it is read, each time, and its neighbours are read as they are.
  @Test func damagedBlock() throws {
    let workplace = try store(headDim: 64)
    let configuration = try Fixture.configuration(headDim: 64)
    let key = configuration.chunkKey(tokens: Fixture.tokens(1))
    let path = try #require(try workplace.segments().first)
    let whole = try #require(try TreeStore(opening: workplace.store).chunk(key))
    var bytes = try Surgery.read(path)
    bytes[whole.record.layout.blocks[3].lowerBound + 5] ^= 0x10
    try Surgery.write(bytes, to: path)

    let chunk = try #require(try TreeStore(opening: workplace.store).chunk(key))
    let encoded = Fixture.chunk(Fixture.tokens(1), configuration)
    for (index, node) in chunk.tree.nodes.enumerated() {
      for _ in 0..<2 {
        let name = refusal { () throws(Refusal) in
          let read = try chunk.block(of: node).copy
          let expected = encoded.blocks[index].copy
          #expect(read == expected)
        }
        #expect(name == (index == 3 ? "checksum-mismatch" : nil))
      }
    }
  }
}
