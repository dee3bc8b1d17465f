import ContextTrees
import FileAccess
import Glibc
import Testing

@testable import TreeStore

/// Faults of manifests and of directories.
@Suite struct StoreRefusalTests {
  private func storeOfTwo(_ salt: UInt64 = 5) throws -> Workplace {
    let workplace = try Workplace()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try Fixture.configuration(), segmentByteLimit: 1 << 30, salt: salt)
    try writer.add(document: "doc", [Fixture.tokens(1), Fixture.tokens(2, count: 3)])
    try writer.add(document: "other", [Fixture.tokens(1)])
    try writer.commit()
    return workplace
  }

  private func opening(_ workplace: Workplace) -> String? {
    refusal { () throws(Refusal) in _ = try TreeStore(opening: workplace.store) }
  }

  private func verifying(_ workplace: Workplace) -> String? {
    refusal { () throws(Refusal) in try TreeStore(opening: workplace.store).verify { _, _ in } }
  }

  private func writing(_ workplace: Workplace, _ configuration: TreeStoreConfiguration? = nil) -> String? {
    refusal { () throws(Refusal) in _ = try TreeStoreWriter(opening: workplace.store, creating: configuration) }
  }

  private func manifest(_ change: (inout [UInt8]) -> Void) throws -> String? {
    let workplace = try storeOfTwo()
    try Surgery.edit(manifestBytesOf: workplace, change)
    return opening(workplace)
  }

  @Test func directories() throws {
    let configuration = try Fixture.configuration()
    let workplace = try Workplace()
    #expect(opening(workplace) == "missing-file")
    #expect(writing(workplace) == "missing-file")
    try Surgery.write([1], to: workplace.store)
    #expect(opening(workplace) == "not-a-directory")
    #expect(writing(workplace, configuration) == "not-a-directory")
    try Directory.removeFile(workplace.store)
    try Directory.create(workplace.store)
    #expect(opening(workplace) == "not-a-store")
    #expect(writing(workplace) == "not-a-store")
    // A directory with other things in it is not taken over, and nothing is written to it.
    try Surgery.write([1], to: "\(workplace.store)/thesis.tex")
    #expect(writing(workplace, configuration) == "not-a-store")
    #expect(try Directory.names(in: workplace.store) == ["thesis.tex"])
    try Directory.removeFile("\(workplace.store)/thesis.tex")
    #expect(writing(workplace, configuration) == nil)
    #expect(opening(workplace) == nil)
  }

  @Test func missingFiles() throws {
    let configuration = try Fixture.configuration()
    let workplace = try storeOfTwo()
    for name in try workplace.files() where name.contains("MANIFEST") { try Directory.removeFile(name) }
    #expect(opening(workplace) == "not-a-store")
    #expect(writing(workplace, configuration) == "missing-manifest")
    let other = try storeOfTwo()
    try Directory.removeFile(try #require(try other.segments().first))
    #expect(opening(other) == nil && writing(other) == nil)
    #expect(verifying(other) == "missing-segment")
  }

  /// Another store's segment under this one's name, an older one, one of another configuration.
  @Test func swappedSegments() throws {
    let (workplace, other) = (try storeOfTwo(5), try storeOfTwo(6))
    let name = try #require(try workplace.segments().first)
    try Surgery.write(try Surgery.read(try #require(try other.segments().first)), to: name)
    #expect(verifying(workplace) == "segment-mismatch")

    let longer = try storeOfTwo()
    try Surgery.edit(manifestOf: longer) { manifest in
      let old = manifest.segments[0]
      manifest.segments[0] = SegmentReference(
        digest: old.digest, closingDigest: old.closingDigest, byteCount: old.byteCount + 1, chunkCount: 2)
    }
    #expect(verifying(longer) == "segment-mismatch")

    for (configuration, expected) in [
      (try Fixture.configuration(model: 8), "model-mismatch"),
      (try Fixture.configuration(numerics: "else"), "configuration-mismatch"),
    ] {
      let foreign = try storeOfTwo()
      try Surgery.edit(manifestOf: foreign) { manifest in
        manifest = Manifest(
          generation: manifest.generation, previous: manifest.previous, configuration: configuration,
          segments: manifest.segments, tables: [], obsolete: [])
      }
      #expect(verifying(foreign) == expected)
    }
  }

  @Test func manifestFields() throws {
    // Offsets: generation 24, previous 32, segments 64, tables 72, obsolete files 80, zero 88, configuration 96 to 176,
    // the one segment 176 to 256, the one table 256 to 352: digests, length, entries 328, generations 336 and 344.
    #expect(try manifest { _ in } == nil)
    #expect(try manifest { $0[0] ^= 1 } == "bad-magic")
    #expect(try manifest { $0[8] = 1 } == "newer-version")
    #expect(try manifest { $0[10] = 1 } == "newer-version")
    #expect(try manifest { $0[12] = 1 } == "malformed-manifest")
    #expect(try manifest { $0[16] = 2 } == "unknown-feature")
    #expect(try manifest { $0[24] = 3 } == "malformed-manifest")
    #expect(try manifest { Surgery.put(UInt64.max, at: 24, in: &$0) } == "truncated")
    for count in [64, 72, 80] {
      #expect(try manifest { Surgery.put(Int.max, at: count, in: &$0) } == "malformed-manifest")
    }
    #expect(try manifest { Surgery.put(2, at: 72, in: &$0) } == "malformed-manifest")
    #expect(try manifest { $0[88] = 1 } == "malformed-manifest")
    #expect(try manifest { Surgery.put(UInt32(9), at: 96 + 36, in: &$0) } == "malformed-configuration")
    #expect(try manifest { $0 += [0, 0, 0, 0, 0, 0, 0, 0] } == "malformed-manifest")
    #expect(try manifest { Surgery.put(3, at: 336, in: &$0) } == "malformed-manifest")
    #expect(try manifest { Surgery.put(3, at: 344, in: &$0) } == "malformed-manifest")
    // An obsolete file of no kind.
    #expect(
      try manifest {
        Surgery.put(1, at: 80, in: &$0)
        $0 += [UInt8](repeating: 7, count: 32) + [3, 0, 0, 0, 0, 0, 0, 0]
      } == "malformed-manifest")

    let workplace = try storeOfTwo()
    let path = try Surgery.manifestPath(workplace)
    var bytes = try Surgery.read(path)
    bytes[100] ^= 1
    try Surgery.write(bytes, to: path)
    #expect(opening(workplace) == "digest-mismatch")
    try Surgery.write(Array(bytes.prefix(100)), to: path)
    #expect(opening(workplace) == "truncated")
    // An older generation is not used instead, nor by the writer.
    #expect(writing(workplace) == "truncated")
    // A link in its place is not followed.
    try Directory.removeFile(path)
    _ = unsafe symlink("elsewhere", path)
    #expect(opening(workplace) == "not-a-regular-file")
  }

  @Test func unsortedSegments() throws {
    let workplace = try storeOfTwo()
    try Surgery.edit(manifestBytesOf: workplace) { bytes in
      let segment = Array(bytes[176..<256])
      bytes.insert(contentsOf: segment, at: 176)
      Surgery.put(2, at: 64, in: &bytes)
    }
    #expect(opening(workplace) == "malformed-manifest")
  }

  /// What only `verify` can see: documents without their chunks, and a history that is not one.
  @Test func verification() throws {
    let missing = try storeOfTwo()
    try Surgery.edit(manifestOf: missing) { $0.segments = [] }
    #expect(opening(missing) == nil)
    #expect(verifying(missing) == "missing-segment")

    let forked = try storeOfTwo()
    try Surgery.edit(manifestOf: forked) { $0.previous = Digest256(of: []) }
    #expect(verifying(forked) == "digest-mismatch")

    // The file's own digest: padding that nothing else covers is found by name before, so the salt-free part is left.
    let renamed = try storeOfTwo()
    let path = try #require(try renamed.segments().first)
    let digest = Digest256(of: [1])
    try Surgery.write(try Surgery.read(path), to: StoreFormat.segmentPath(renamed.store, digest))
    try Surgery.edit(manifestOf: renamed) { manifest in
      let old = manifest.segments[0]
      manifest.segments[0] = SegmentReference(
        digest: digest, closingDigest: old.closingDigest, byteCount: old.byteCount, chunkCount: 2)
    }
    #expect(opening(renamed) == nil)
    #expect(verifying(renamed) == "digest-mismatch")

    // A manifest that changes under an open store.
    let changed = try storeOfTwo()
    let store = try TreeStore(opening: changed.store)
    try Surgery.edit(manifestOf: changed) { $0.tables = [] }
    #expect(refusal { () throws(Refusal) in try store.verify { _, _ in } } == "digest-mismatch")
  }
}
