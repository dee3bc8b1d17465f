import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// A directory that is removed when the test ends.
final class Workplace: Sendable {
  let path: String

  init() throws(Refusal) { path = try Directory.temporary("tree-store-tests") }

  private init(_ path: String) { self.path = path }

  /// In memory where the system has a file system for it: for tests that synchronize thousands of times and look at
  /// what was asked of the disk, not at the disk.
  static func inMemory() throws(Refusal) -> Workplace {
    let path = "/dev/shm/tree-store-tests-\(String(UInt64.random(in: .min ... .max), radix: 16))"
    guard Directory.exists("/dev/shm") == .directory, (try? Directory.create(path, mode: 0o700)) != nil else {
      return try Workplace()
    }
    return Workplace(path)
  }

  deinit { try? Directory.removeTree(path) }

  var store: String { "\(path)/store" }

  /// The files of the store except the lock, which is empty.
  func files() throws -> [String] {
    let names = try Directory.names(in: store).filter { $0.hasPrefix("MANIFEST") }
    return try names.map { "\(store)/\($0)" }
      + ["segments", "catalog"].flatMap { part in
        try Directory.names(in: "\(store)/\(part)").map { "\(store)/\(part)/\($0)" }
      }
  }

  func segments() throws -> [String] { try files().filter { $0.hasSuffix(".seg") } }

  func tables() throws -> [String] { try files().filter { $0.hasSuffix(".table") } }
}

enum Fixture {
  /// A tiny store: chunks of 8 tokens, 6 nodes.
  static func configuration(
    model: UInt8 = 7, chunkSize: Int = 8, depth: Int = 2, layers: Int = 1, headDim: Int = 4,
    encoding: RowEncoding = .float32, embeddingSize: Int = 3, numerics: String = "local; exact"
  ) throws -> TreeStoreConfiguration {
    TreeStoreConfiguration(
      modelIdentity: try #require(Digest256(bytes: [UInt8](repeating: model, count: 32))),
      shape: try #require(TreeShape(chunkSize: chunkSize, depth: depth, leafRatio: 2)),
      layout: try #require(
        NodeBlockLayout(layerCount: layers, kvHeadCount: 1, headDim: headDim, encoding: encoding)),
      embeddingSize: embeddingSize, rowNumerics: numerics)
  }

  /// A chunk with content that depends on its tokens; `compressible` blocks repeat themselves.
  static func chunk(
    _ tokens: [Int32], _ configuration: TreeStoreConfiguration, compressible: Bool = false
  ) -> EncodedChunk {
    let tree = ContextTree(shape: configuration.shape, tokenCount: tokens.count)
    var state = tokens.reduce(UInt64(1)) { ($0 &+ UInt64(bitPattern: Int64($1))) &* 0x9E37_79B9_7F4A_7C15 &+ 1 }
    func next() -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    }
    return EncodedChunk(
      tokens: tokens,
      embeddings: (0..<tree.nodes.count * configuration.embeddingSize).map { _ in Float(next()) / 16 },
      blocks: tree.nodes.map { node in
        let byteCount = configuration.layout.byteCount(rows: node.rowCount)
        let first = next()
        let bytes = (0..<byteCount).map { compressible ? first &+ UInt8($0 / 64 % 4) : next() }
        return NodeBlock(BlockBytes(bytes), layout: configuration.layout, rowCount: node.rowCount)
      })
  }

  static func tokens(_ number: Int, count: Int = 8) -> [Int32] { (0..<count).map { Int32(number * 100 + $0) } }
}

extension TreeStoreWriter {
  /// Adds chunks and a document of them.
  mutating func add(
    document name: String, _ chunks: [[Int32]], compression: Compression = .none, compressible: Bool = false,
    replacing: Bool = false
  ) throws(Refusal) {
    var keys: [ChunkKey] = []
    for tokens in chunks {
      keys.append(
        try add(Fixture.chunk(tokens, configuration, compressible: compressible), compression: compression))
    }
    try addDocument(
      name: name, textDigest: Digest256(of: Array(name.utf8)), textByteCount: 4 * chunks.count,
      tokenCount: chunks.reduce(0) { $0 + $1.count }, chunks: DocumentChunks(keys: keys), replacing: replacing)
  }
}

extension TreeStoreConfiguration {
  // Of stores that have trees.
  var shape: TreeShape { form(tree).shape }
  var layout: NodeBlockLayout { form(tree).layout }
  var embeddingSize: Int { form(tree).embeddingSize }

  private func form<Form>(_ form: Form?) -> Form {
    guard let form else { preconditionFailure("another form") }
    return form
  }
}

extension StoredChunk {
  /// How a node's block is stored.
  func compression(of node: TreeNode) -> Compression { record.entries[tree.index(of: node)].compression }
}

/// Every part of a stored chunk is the encoded one's.
func expectEqual(_ stored: StoredChunk, _ encoded: EncodedChunk, size: Int) throws {
  #expect(stored.tokens == encoded.tokens)
  for (index, node) in stored.tree.nodes.enumerated() {
    #expect(try stored.embedding(of: node) == Array(encoded.embeddings[index * size..<(index + 1) * size]))
    let block = try stored.block(of: node)
    let (bytes, expected) = (block.copy, encoded.blocks[index].copy)
    #expect(bytes == expected)
    let address = unsafe UInt(bitPattern: block.storage.unsafeBytes.baseAddress)
    #expect(address % 64 == 0)
  }
}

extension NodeBlock {
  var copy: [UInt8] { storage.bytes.array }
}

/// The name of the refusal that a body ends with; nil when it ends well.
func refusal(_ body: () throws(Refusal) -> Void) -> String? {
  do {
    try body()
    return nil
  } catch {
    return error.name.text
  }
}
