import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// The worked example of `Formats/tree-store.md`, byte by byte: what is written is what the page shows, and the page's
/// bytes are read.
@Suite struct GoldenTests {
  private func configuration() throws -> TreeStoreConfiguration {
    TreeStoreConfiguration(
      modelIdentity: try #require(Digest256(bytes: [UInt8](repeating: 0xAB, count: 32))),
      shape: try #require(TreeShape(chunkSize: 2, depth: 1, leafRatio: 1)),
      layout: try #require(NodeBlockLayout(layerCount: 1, kvHeadCount: 1, headDim: 2, encoding: .float32)),
      embeddingSize: 1, rowNumerics: "none")
  }

  private func chunk() throws -> EncodedChunk {
    let layout = try configuration().layout
    func block(_ numbers: [Float]) -> NodeBlock {
      var writer = ByteWriter()
      for (index, number) in numbers.enumerated() {
        if index == 2 { writer.pad(toByteCount: 64) }
        writer.integer(number.bitPattern)
      }
      writer.pad(toByteCount: 128)
      return NodeBlock(BlockBytes(writer.bytes), layout: layout, rowCount: 1)
    }
    return EncodedChunk(tokens: [5, 9], embeddings: [0.5, -1], blocks: [block([1, 2, 3, 4]), block([5, 6, 7, 8])])
  }

  /// The bytes of the code block after a heading: lines `offset  hex  note`; what no line shows is zero.
  private func bytes(after heading: String) throws -> [UInt8] {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let page = try SequentialFile.contents("/\(root)/Formats/tree-store.md", limit: 1 << 20)
    let lines = String(decoding: page, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    let start = try #require(lines.firstIndex { $0.hasPrefix(heading) })
    let block = lines[start...].drop { !$0.hasPrefix("```") }.dropFirst().prefix { !$0.hasPrefix("```") }
    var writer = ByteWriter()
    for line in block {
      let fields = line.split(separator: " ")
      writer.pad(toByteCount: try #require(fields.first.flatMap { Int($0) }))
      for field in fields.dropFirst().prefix(16) {
        guard field.count == 2, let byte = UInt8(field, radix: 16) else { break }
        writer.integer(byte)
      }
    }
    return writer.bytes
  }

  private func dump(_ bytes: [UInt8]) -> String {
    stride(from: 0, to: bytes.count, by: 16).compactMap { start in
      let row = bytes[start..<min(start + 16, bytes.count)]
      guard row.contains(where: { $0 != 0 }) else { return nil }
      let digits = row.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      return "\(start) " + digits.joined(separator: " ")
    }.joined(separator: "\n")
  }

  @Test func workedExample() throws {
    let workplace = try Workplace()
    let configuration = try configuration()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: configuration, segmentByteLimit: 1 << 30, salt: 0x0102_0304_0506_0708)
    let key = try writer.add(chunk(), compression: .none)
    try writer.addDocument(
      name: "d", textDigest: Digest256(of: Array("abc".utf8)), textByteCount: 3, tokenCount: 2,
      chunks: DocumentChunks(keys: [key]),
      replacing: false)
    try writer.commit()
    let segment = try Surgery.read(try #require(try workplace.segments().first))
    let manifest = try Surgery.read(try Surgery.manifestPath(workplace))
    #expect(try bytes(after: "### The segment") == segment, "\(dump(segment))")
    let table = try Surgery.read(try #require(try workplace.tables().first))
    #expect(try bytes(after: "### The catalog table") == table, "\(dump(table))")
    #expect(try bytes(after: "### The manifest") == manifest, "\(dump(manifest))")

    // And the other way: the page's bytes make a store.
    let page = try Workplace()
    try Directory.create(page.store)
    try Directory.create("\(page.store)/segments")
    try Directory.create("\(page.store)/catalog")
    let shown = try bytes(after: "### The segment")
    try Surgery.write(shown, to: StoreFormat.segmentPath(page.store, Digest256(of: shown)))
    let catalog = try bytes(after: "### The catalog table")
    try Surgery.write(catalog, to: StoreFormat.tablePath(page.store, Digest256(of: catalog)))
    try Surgery.write(try bytes(after: "### The manifest"), to: "\(page.store)/\(StoreFormat.manifestName(2))")
    let store = try TreeStore(opening: page.store)
    try store.verify { _, _ in }
    #expect(store.configuration == configuration)
    let document = try #require(try store.document(named: "d"))
    let named = try #require(try store.chunks(of: document).keys.first)
    let stored = try #require(try store.chunk(named))
    try expectEqual(stored, chunk(), size: 1)
    #expect(stored.tree.nodes.map(\.path) == ["L", "R"])
  }
}
