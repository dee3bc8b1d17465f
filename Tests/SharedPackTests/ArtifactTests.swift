import FileAccess
import SharedPack
import Testing

/// What a path leads to, and that a changed byte anywhere in it is found.
@Suite struct ArtifactTests {
  let scratch: Scratch
  let model: LanguageModel
  let store: String
  let segment: String

  init() throws {
    scratch = try Scratch()
    model = try TinyModel().open(in: scratch)
    store = "\(scratch.path)/store"
    var builder = try StoreBuilder(opening: store, model: model)
    _ = try builder.add(DocumentSource(name: "text", path: try scratch.write(Texts.first, to: "text.txt")))
    segment = "\(store)/segments/\(try #require(try Directory.names(in: "\(store)/segments").first))"
  }

  @Test func pathsAreTold() throws {
    guard case .modelPack(let pack) = try Artifact(opening: model.pack.path) else { throw Unexpected() }
    #expect(pack.identity == model.pack.identity)
    guard case .treeStore(let opened) = try Artifact(opening: store) else { throw Unexpected() }
    #expect(try opened.documents().map(\.name) == ["text"])
    guard case .segment(let inspection) = try Artifact(opening: segment) else { throw Unexpected() }
    #expect(inspection.configuration == opened.configuration)
    #expect(try inspection.chunks.count == opened.statistics().uniqueChunks)
    #expect(refusal { _ = try Artifact(opening: "\(scratch.path)/nowhere") }?.name == .missingFile)
    #expect(refusal { _ = try Artifact(opening: "\(scratch.path)/text.txt") }?.name == .unknownFile)
    #expect(refusal { _ = try Artifact(opening: scratch.path) }?.name.text == "not-a-store")
  }

  private struct Unexpected: Error {}

  @Test func whatIsWholeIsFoundWhole() throws {
    let pack = try Artifact(opening: model.pack.path).verify()
    #expect(pack.kind == .modelPack)
    #expect(pack.identity == model.pack.identity.description)
    #expect(pack.byteCount == model.pack.byteCount)
    let whole = try Artifact(opening: store).verify()
    #expect(whole.kind == .treeStore)
    #expect(whole.identity == "generation 2")
    let part = try Artifact(opening: segment).verify()
    #expect(part.kind == .segment)
    #expect(segment.hasSuffix("/\(part.identity).seg"))
    #expect(part.byteCount < whole.byteCount)
  }

  /// One segment is checked as its store would check it, under any name.
  @Test func changedSegmentsAreFound() throws {
    let bytes = try SequentialFile.contents(segment, limit: 1 << 24)
    let copy = try scratch.write(bytes, to: "copy")
    #expect(try Artifact(opening: copy).verify().identity == Digest256(of: bytes).description)
    // A byte of a block: nothing but a verification looks there.
    for offset in stride(from: 1000, to: bytes.count - 4000, by: bytes.count / 40) {
      var changed = bytes
      changed[offset] ^= 1
      let path = try scratch.write(changed, to: "changed")
      #expect(throws: Refusal.self, "byte \(offset)") { try Artifact(opening: path).verify() }
    }
    // Another segment's name.
    let misnamed = try scratch.write(bytes, to: "\(Digest256(of: [])).seg")
    #expect(refusal { _ = try Artifact(opening: misnamed).verify() }?.name == .digestMismatch)
  }
}
