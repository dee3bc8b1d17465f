package import CanonicalJSON
internal import ContextTrees
public import FileAccess
internal import NodeBlocks

/// The description of a segment, without its store. Its blocks are not checked.
public struct SegmentInspection: Sendable {
  public struct Chunk: Sendable {
    public let key: ChunkKey
    public let tokenCount: Int
    /// Nodes of a tree; of a text 1, or 0 without rows.
    public let nodeCount: Int
    /// The record's offset in the file.
    public let byteOffset: Int
    public let byteCount: Int
    /// How many node blocks there are with each compression, but for dense ones.
    public let blockCounts: [Compression: Int]
    /// How many node blocks are without their padding.
    public let denseBlockCount: Int
  }

  public let path: String
  public let byteCount: Int
  public let salt: UInt64
  public let configuration: TreeStoreConfiguration
  public let tokenCount: Int
  public let blockByteCount: Int
  public let storedBlockByteCount: Int
  /// By ascending key.
  public let chunks: [Chunk]

  package var json: JSONValue {
    .members([
      "path": .string(path), "kind": .string("tree-store-segment"),
      "format_version": .string("\(StoreFormat.majorVersion).\(StoreFormat.minorVersion)"),
      "byte_count": .integer(byteCount), "salt": .string(String(salt, radix: 16)),
      "configuration": configuration.json, "token_count": .integer(tokenCount),
      "block_byte_count": .integer(blockByteCount), "stored_block_byte_count": .integer(storedBlockByteCount),
      "chunks": .array(
        chunks.map { chunk in
          .members([
            "key": .string(chunk.key.description), "token_count": .integer(chunk.tokenCount),
            "node_count": .integer(chunk.nodeCount), "byte_offset": .integer(chunk.byteOffset),
            "byte_count": .integer(chunk.byteCount),
            "blocks": .object(
              Compression.allCases.compactMap { kind in
                chunk.blockCounts[kind].map { JSONValue.Member("\(kind)", .integer($0)) }
              }),
            "dense_blocks": .integer(chunk.denseBlockCount),
          ])
        }),
    ])
  }

  /// A few human-readable lines, then a line for each chunk.
  package var text: String {
    var lines = [
      "\(path): tree store segment, format \(StoreFormat.majorVersion).\(StoreFormat.minorVersion)",
      "\(byteCount) bytes, \(chunks.count) chunks of \(tokenCount) tokens in all",
      "blocks: \(storedBlockByteCount) bytes stored of \(blockByteCount)",
      configuration.summary,
    ]
    lines += chunks.map { chunk in
      var kinds = Compression.allCases.compactMap { kind in chunk.blockCounts[kind].map { "\($0) \(kind)" } }
      if chunk.denseBlockCount > 0 { kinds.append("\(chunk.denseBlockCount) dense") }
      return
        "\(chunk.key.short)  \(chunk.tokenCount) tokens, \(chunk.nodeCount) nodes (\(kinds.joined(separator: ", "))), "
        + "\(chunk.byteCount) bytes at \(chunk.byteOffset)"
    }
    return lines.joined(separator: "\n")
  }
}

extension Segment {
  /// Describes a segment's file, wherever it lies.
  /// - Throws: `Refusal`, see `Formats/tree-store.md`, refusals.
  package static func inspect(_ path: String) throws(Refusal) -> SegmentInspection {
    let segment = try Segment(opening: try MappedFile(path))
    var chunks: [SegmentInspection.Chunk] = []
    for index in 0..<segment.index.count {
      let entry = segment.index.entry(at: index)
      let chunk = try StoredRecord(in: segment, at: index)
      chunks.append(
        SegmentInspection.Chunk(
          key: entry.key, tokenCount: entry.tokenCount, nodeCount: chunk.entries.count, byteOffset: entry.byteOffset,
          byteCount: entry.byteCount,
          blockCounts: Dictionary(
            chunk.entries.filter { !$0.isDense }.map { ($0.compression, 1) }, uniquingKeysWith: +),
          denseBlockCount: chunk.entries.count { $0.isDense }))
    }
    return SegmentInspection(
      path: path, byteCount: segment.file.byteCount, salt: segment.salt, configuration: segment.configuration,
      tokenCount: segment.totals.tokenCount, blockByteCount: segment.totals.blockByteCount,
      storedBlockByteCount: segment.totals.storedBlockByteCount, chunks: chunks)
  }
}

extension TreeStoreConfiguration {
  package var json: JSONValue {
    let (layers, kvHeads, headDim) = heads
    return .members([
      "model_identity": .string(modelIdentity.description),
      "reading": .string(text.map { "\($0.manner)" } ?? "trees"),
      "chunk_size": .integer(chunkSize),
      "tree_depth": tree.map { .integer($0.shape.depth) }, "leaf_ratio": tree.map { .integer($0.shape.leafRatio) },
      "layers": .integer(layers), "kv_heads": .integer(kvHeads), "head_dim": .integer(headDim),
      "row_encoding": .string("\(rowEncoding)"), "embedding_size": tree.map { .integer($0.embeddingSize) },
      "rows_kept": text?.shares.map { .number($0.mean) },
      "frame_tokens": text.map { .integer($0.frame.opening.count) }, "row_numerics": .string(rowNumerics),
    ])
  }

  /// One human-readable line.
  package var summary: String {
    "model \(modelIdentity.description.prefix(12)), "
      + fields.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
  }
}
