import CanonicalJSON
import FileAccess
import ModelPacks

/// A pack in pieces that may be wrong, and an assembler that follows `Formats/model-pack.md` without the writer's code.
/// Digests are right whatever the pieces hold, so that a test reaches the check that it is about.
struct RawPack {
  struct Entry {
    var name: String
    var encoding: UInt32 = 1
    var groupSize: UInt32 = 0
    var rows: UInt64
    var columns: UInt64
    var byteOffset: UInt64 = 0
    var byteCount: UInt64
    var digest: [UInt8]
    var nameOffset: UInt32?
  }
  struct Section {
    var kind: UInt32
    var flags: UInt32 = 0
    var bytes: [UInt8]
    var byteOffset: UInt64?
    var byteCount: UInt64?
    var digest: [UInt8]?
  }

  var majorVersion: UInt16 = 1
  var minorVersion: UInt16 = 0
  var requiredFeatures: UInt64 = 0
  var optionalFeatures: UInt64 = 0
  var headerByteCount: UInt32?
  var reserved: UInt8 = 0
  var sectionReserved: UInt64 = 0
  var fileByteCount: UInt64?
  var metadata: [UInt8]
  var entries: [Entry]
  var entryByteCount: UInt32 = 80
  var namesTail: [UInt8] = []
  var tokenizer: [UInt8]?
  var chatTemplate: [UInt8]?
  var data: [UInt8]
  /// Changes the list of sections before it is written.
  var editSections: (inout [Section]) -> Void = { _ in }

  /// The example of `Formats/model-pack.md`: one layer, hidden size 2, float32, the embedding as output projection.
  static func example() -> RawPack {
    let shapes: [(String, UInt64, UInt64)] = [
      ("model.embed_tokens", 2, 2), ("model.layers.0.input_layernorm", 1, 2),
      ("model.layers.0.self_attn.q_proj", 2, 2), ("model.layers.0.self_attn.k_proj", 2, 2),
      ("model.layers.0.self_attn.v_proj", 2, 2), ("model.layers.0.self_attn.o_proj", 2, 2),
      ("model.layers.0.post_attention_layernorm", 1, 2), ("model.layers.0.mlp.gate_proj", 2, 2),
      ("model.layers.0.mlp.up_proj", 2, 2), ("model.layers.0.mlp.down_proj", 2, 2), ("model.norm", 1, 2),
    ]
    var entries: [Entry] = []
    var data: [UInt8] = []
    for (number, (name, rows, columns)) in shapes.enumerated() {
      var bytes = ByteWriter()
      for element in 0..<rows * columns { bytes.integer((Float(number) + Float(element) / 4).bitPattern) }
      data += [UInt8](repeating: 0, count: (64 - data.count % 64) % 64)
      entries.append(
        Entry(
          name: name + ".weight", rows: rows, columns: columns, byteOffset: UInt64(data.count),
          byteCount: UInt64(bytes.bytes.count), digest: Digest256(of: bytes.bytes).bytes))
      data += bytes.bytes
    }
    return RawPack(
      metadata: Array(metadataText.utf8), entries: entries, tokenizer: Array("tokens".utf8),
      chatTemplate: Array("{{ messages }}".utf8), data: data)
  }

  static let metadataText =
    #"{"architecture":"llama","configuration":{"beginOfTextToken":0,"endOfTextTokens":[1],"headCount":1,"headDim":2,"#
    + #""hiddenSize":2,"intermediateSize":2,"kvHeadCount":1,"layerCount":1,"maxPositionCount":8,"#
    + #""rmsNormEpsilon":1e-05,"ropeTheta":10000.0,"tiesWordEmbeddings":true,"vocabularySize":2},"#
    + #""provenance":{"converter":"example","sources":[]},"quantization":{"encoding":"float32"}}"#

  mutating func replaceInMetadata(_ old: String, _ new: String) {
    let text = String(decoding: metadata, as: UTF8.self)
    precondition(text.contains(old))
    metadata = Array(text.replacing(old, with: new).utf8)
  }

  /// Adds a way of scaling rotary positions.
  mutating func scaleRope(_ members: String) {
    replaceInMetadata(#""ropeTheta""#, #""ropeScaling":{\#(members)},"ropeTheta""#)
  }

  var index: [UInt8] {
    var writer = ByteWriter()
    let names = entries.flatMap(\.name.utf8) + namesTail
    writer.integer(UInt32(entries.count))
    writer.integer(entryByteCount)
    writer.integer(UInt64(names.count))
    var nameOffset = 0
    for entry in entries {
      writer.integer(entry.nameOffset ?? UInt32(nameOffset))
      writer.integer(UInt32(entry.name.utf8.count))
      writer.integer(entry.encoding)
      writer.integer(entry.groupSize)
      writer.integer(entry.rows)
      writer.integer(entry.columns)
      writer.integer(entry.byteOffset)
      writer.integer(entry.byteCount)
      writer.append(entry.digest)
      nameOffset += entry.name.utf8.count
    }
    writer.append(names)
    return writer.bytes
  }

  func assembled() -> [UInt8] {
    // The index has the same length wherever the data starts.
    var sections = [Section(kind: 1, bytes: metadata), Section(kind: 2, bytes: index)]
    if let tokenizer { sections.append(Section(kind: 3, bytes: tokenizer)) }
    if let chatTemplate { sections.append(Section(kind: 4, bytes: chatTemplate)) }
    sections.append(Section(kind: 5, bytes: data, digest: [UInt8](repeating: 0, count: 32)))
    editSections(&sections)
    var end = 96 + 64 * sections.count
    var starts: [Int] = []
    for section in sections {
      end = (end + 4095) / 4096 * 4096
      starts.append(end)
      end += section.bytes.count
    }
    if let number = sections.firstIndex(where: { $0.kind == 2 }), let data = sections.lastIndex(where: { $0.kind == 5 })
    {
      var moved = self
      for entry in moved.entries.indices { moved.entries[entry].byteOffset &+= UInt64(starts[data]) }
      sections[number].bytes = moved.index
    }
    var header = ByteWriter()
    header.append([0x89, 0x53, 0x50, 0x4B, 0x0D, 0x0A, 0x1A, 0x0A])
    header.integer(majorVersion)
    header.integer(minorVersion)
    header.integer(headerByteCount ?? UInt32(96 + 64 * sections.count))
    header.integer(fileByteCount ?? UInt64(end))
    header.integer(requiredFeatures)
    header.integer(optionalFeatures)
    header.integer(UInt32(sections.count))
    header.pad(toByteCount: 63)
    header.integer(reserved)
    header.pad(toByteCount: 96)
    for (section, start) in zip(sections, starts) {
      header.integer(section.kind)
      header.integer(section.flags)
      header.integer(section.byteOffset ?? UInt64(start))
      header.integer(section.byteCount ?? UInt64(section.bytes.count))
      header.append(section.digest ?? Digest256(of: section.bytes).bytes)
      header.integer(sectionReserved)
    }
    var bytes = header.bytes
    bytes.replaceSubrange(64..<96, with: Digest256(of: bytes).bytes)
    for (section, start) in zip(sections, starts) {
      bytes += [UInt8](repeating: 0, count: start - bytes.count)
      bytes += section.bytes
    }
    return bytes
  }
}

/// A directory that is removed with its last user.
final class Scratch: Sendable {
  let path: String

  init() throws { path = try Directory.temporary("sharedpack-tests") }

  deinit { try? Directory.removeTree(path) }

  /// Writes a file in place.
  func write(_ bytes: [UInt8], to name: String = "model.spk") throws -> String {
    var file = try PublishedFile(creating: "\(path)/\(name)")
    try file.append(bytes)
    try file.publish()
    return "\(path)/\(name)"
  }
}

/// Opens and verifies; the refusal's name, or nil when the pack is good.
func refusal(of bytes: [UInt8], in scratch: Scratch) throws -> Refusal? {
  let path = try scratch.write(bytes)
  do {
    try ModelPack(opening: path).verify()
    return nil
  } catch {
    return error
  }
}
