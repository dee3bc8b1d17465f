package import FileAccess

/// Something that is wrong with a store.
package struct StoreFault: Sendable {
  /// What is at fault.
  package enum Kind: String, Sendable, CaseIterable {
    /// A file is lost, damaged, or named by no generation.
    case file
    /// A generation is without its manifest.
    case generation
    /// A chunk cannot be read.
    case record
    /// A document is lost, or some of its chunks are.
    case document
    /// The catalog contradicts itself or the segments.
    case catalog
    /// More may read or write than the store's directory lets in.
    case permission
    /// Whole bytes that mean nothing.
    case range
  }

  package let kind: Kind
  package let refusal: Refusal
  /// The chunk that is at fault.
  package var chunk: ChunkKey?
  /// Documents that need it, by their names: some of them when there are very many.
  package var documents: [String] = []
}

/// A document of which chunks are missing.
package struct IncompleteDocument: Sendable, Hashable {
  package let name: String
  package let missingCount: Int
  package let chunkCount: Int
}

/// What an examination of a store found.
package struct StoreExamination: Sendable {
  package let path: String
  /// The newest generation whose manifest can be read; nil when there is none.
  package let generation: Int?
  package let configuration: TreeStoreConfiguration
  package let faults: [StoreFault]
  package let documentCount: Int
  /// Documents of which something is left, but not enough.
  package let lostDocuments: [String]
  package let incompleteDocuments: [IncompleteDocument]
  /// Chunks that documents need and that cannot be read.
  package let missingChunkCount: Int
  /// Records that no document needs, and second copies: `collectGarbage` removes them.
  package let unreachableChunkCount: Int
  package let unreachableByteCount: Int
  package let quarantinedFileCount: Int
  /// Whether a process was writing: files that no generation names may be its own.
  package let isBeingWritten: Bool
}

extension Refusal.Name {
  package static let unknownFile = Refusal.Name("unknown-file", .badInput)
  package static let accessTooWide = Refusal.Name("access-too-wide", .badInput)
  package static let foreignOwner = Refusal.Name("foreign-owner", .badInput)
  package static let lostDocument = Refusal.Name("lost-document", .badInput)
  package static let incompleteDocument = Refusal.Name("incomplete-document", .badInput)
  package static let impossibleValue = Refusal.Name("impossible-value", .badInput)
}
