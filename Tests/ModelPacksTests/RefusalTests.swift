import CanonicalJSON
import FileAccess
import ModelPacks
import Testing

/// One case for every name in `Formats/model-pack.md` §Refusals.
@Suite struct RefusalTests {
  struct Surgery: Sendable, CustomTestStringConvertible {
    let name: Refusal.Name
    let what: String
    let edit: @Sendable (inout RawPack) -> Void

    init(_ name: Refusal.Name, _ what: String, _ edit: @escaping @Sendable (inout RawPack) -> Void) {
      self.name = name
      self.what = what
      self.edit = edit
    }

    var testDescription: String { "\(name.text): \(what)" }
  }

  static let header: [Surgery] = [
    Surgery(.newerVersion, "version 2") { $0.majorVersion = 2 },
    Surgery(.malformedHeader, "version 0") { $0.majorVersion = 0 },
    Surgery(.malformedHeader, "header byte count") { $0.headerByteCount = 97 },
    Surgery(.malformedHeader, "reserved byte") { $0.reserved = 1 },
    Surgery(.malformedHeader, "reserved bytes of a section") { $0.sectionReserved = 1 },
    Surgery(.malformedHeader, "too many sections") {
      $0.editSections = { for kind in UInt32(6)...17 { $0.append(.init(kind: kind, flags: 1, bytes: [1])) } }
    },
    Surgery(.malformedHeader, "a known section that may be skipped") { $0.editSections = { $0[2].flags = 1 } },
    Surgery(.malformedHeader, "a digest of the tensor data") {
      $0.editSections = { $0[4].digest = nil }
    },
    Surgery(.unknownFeature, "a required feature") { $0.requiredFeatures = 1 << 63 },
    Surgery(.unknownSection, "kind 6, needed") { $0.editSections = { $0.append(.init(kind: 6, bytes: [1])) } },
    Surgery(.unknownSection, "kind 6 with another flag") {
      $0.editSections = { $0.append(.init(kind: 6, flags: 3, bytes: [1])) }
    },
    Surgery(.unknownSection, "kind 0") { $0.editSections = { $0.insert(.init(kind: 0, flags: 1, bytes: [1]), at: 0) } },
    Surgery(.misplacedSection, "a skipped section twice") {
      $0.editSections = { for _ in 0..<2 { $0.append(.init(kind: 6, flags: 1, bytes: [1])) } }
    },
    Surgery(.digestMismatch, "a skipped section's digest") {
      $0.editSections = { $0.append(.init(kind: 6, flags: 1, bytes: [1], digest: [UInt8](repeating: 7, count: 32))) }
    },
    Surgery(.missingSection, "no metadata") { $0.editSections = { $0.remove(at: 0) } },
    Surgery(.missingSection, "no data") { $0.editSections = { $0.removeLast() } },
    Surgery(.misplacedSection, "kinds in descending order") { $0.editSections = { $0.swapAt(2, 3) } },
    Surgery(.misplacedSection, "a section twice") { $0.editSections = { $0[3] = $0[2] } },
    Surgery(.misplacedSection, "a hole") { $0.editSections = { $0[1].byteOffset = 3 * 4096 } },
    Surgery(.misplacedSection, "an overlap") { $0.editSections = { $0[1].byteOffset = 4096 } },
    Surgery(.misplacedSection, "misaligned") { $0.editSections = { $0[1].byteOffset = 2 * 4096 + 64 } },
    Surgery(.misplacedSection, "an end that overflows") { $0.editSections = { $0[4].byteCount = UInt64(Int.max) } },
    Surgery(.misplacedSection, "empty") { $0.editSections = { $0[2].byteCount = 0 } },
    Surgery(.truncated, "a size beyond 2^63") { $0.editSections = { $0[4].byteCount = .max } },
    Surgery(.tooLarge, "a template of 2 MB") { $0.editSections = { $0[3].byteCount = 1 << 21 } },
    Surgery(.wrongLength, "the header states a byte less") { $0.fileByteCount = 4096 },
    Surgery(.wrongLength, "data beyond the end") { $0.editSections = { $0[4].byteCount = 1 << 40 } },
    Surgery(.digestMismatch, "a section's digest") {
      $0.editSections = { $0[2].digest = [UInt8](repeating: 7, count: 32) }
    },
    Surgery(.invalidText, "a template that is not UTF-8") { $0.chatTemplate = [0xC3, 0x28] },
  ]

  static let metadata: [Surgery] = [
    Surgery(.malformedJSON, "cut") { $0.metadata.removeLast() },
    Surgery(.malformedJSON, "a duplicate key") {
      $0.replaceInMetadata(#"{"architecture":"llama""#, #"{"architecture":"llama","architecture":"llama""#)
    },
    Surgery(.malformedJSON, "nested deeply") {
      $0.replaceInMetadata(#""sources":[]"#, #""sources":[[[[[[[[[[]]]]]]]]]]"#)
    },
    Surgery(.nonCanonicalMetadata, "a space") { $0.replaceInMetadata(":8,", ": 8,") },
    Surgery(.nonCanonicalMetadata, "keys out of order") {
      $0.replaceInMetadata(#""headCount":1,"headDim":2"#, #""headDim":2,"headCount":1"#)
    },
    Surgery(.nonCanonicalMetadata, "another spelling of a number") { $0.replaceInMetadata("10000.0", "1e4") },
    Surgery(.unsupportedArchitecture, "falcon") { $0.replaceInMetadata(#":"llama""#, #":"falcon""#) },
    Surgery(.invalidMetadata, "no configuration") { $0.replaceInMetadata("configuration", "configuratioo") },
    Surgery(.invalidMetadata, "a text for a number") { $0.replaceInMetadata(#""headDim":2"#, #""headDim":"2""#) },
    Surgery(.invalidMetadata, "an odd head dimension") { $0.replaceInMetadata(#""headDim":2"#, #""headDim":3"#) },
    Surgery(.invalidMetadata, "no layers") { $0.replaceInMetadata(#""layerCount":1"#, #""layerCount":0"#) },
    Surgery(.invalidMetadata, "negative layers") { $0.replaceInMetadata(#""layerCount":1"#, #""layerCount":-1"#) },
    Surgery(.invalidMetadata, "very many layers") {
      $0.replaceInMetadata(#""layerCount":1"#, #""layerCount":9223372036854775807"#)
    },
    Surgery(.invalidMetadata, "heads that do not divide") {
      $0.replaceInMetadata(#""kvHeadCount":1"#, #""kvHeadCount":2"#)
    },
    Surgery(.invalidMetadata, "a token outside the vocabulary") { $0.replaceInMetadata("[1]", "[2]") },
    Surgery(.invalidMetadata, "a token beyond 32 bits") { $0.replaceInMetadata("[1]", "[4294967296]") },
    Surgery(.invalidMetadata, "epsilon 0") { $0.replaceInMetadata("1e-05", "0.0") },
    Surgery(.invalidMetadata, "rotary base 0") { $0.replaceInMetadata("10000.0", "0.0") },
    Surgery(.invalidMetadata, "unknown encoding") { $0.replaceInMetadata(#"float32"}"#, #"float64"}"#) },
    Surgery(.invalidMetadata, "unknown rope scaling") { $0.scaleRope(#""factor":2.0,"kind":"cubic""#) },
    Surgery(.invalidMetadata, "more divisors than pairs") { $0.scaleRope(#""divisors":[1.0,1.0],"kind":"divisors""#) },
    Surgery(.invalidMetadata, "no divisors") { $0.scaleRope(#""kind":"divisors""#) },
    Surgery(.invalidMetadata, "a divisor of 0") { $0.scaleRope(#""divisors":[0.0],"kind":"divisors""#) },
    Surgery(.invalidMetadata, "a divisor that is a text") { $0.scaleRope(#""divisors":["1"],"kind":"divisors""#) },
    Surgery(.invalidMetadata, "a number for a bias") {
      $0.replaceInMetadata(#""rmsNormEpsilon""#, #""mlpBias":1,"rmsNormEpsilon""#)
    },
    Surgery(.invalidMetadata, "group size 6") {
      $0.replaceInMetadata(#"float32"}"#, #"int8","groupSize":6}"#)
    },
    Surgery(.invalidMetadata, "int4 in groups of 12") {
      $0.replaceInMetadata(#"float32"}"#, #"int4","groupSize":12}"#)
    },
    Surgery(.invalidMetadata, "no chunks to read") {
      $0.replaceInMetadata(#"float32"}}"#, #"float32"},"reading":{"chunkCount":0,"chunkSize":64}}"#)
    },
    Surgery(.invalidMetadata, "chunks to read that are too large") {
      $0.replaceInMetadata(#"float32"}}"#, #"float32"},"reading":{"chunkCount":1,"chunkSize":1025}}"#)
    },
    Surgery(.invalidMetadata, "chunks to read without a size") {
      $0.replaceInMetadata(#"float32"}}"#, #"float32"},"reading":{"chunkCount":1}}"#)
    },
    Surgery(.invalidMetadata, "a tree that is too deep") {
      $0.metadata.removeLast()
      $0.metadata += Array(
        (#","sharedLLM":{"chunkSize":8,"injectedLayerCount":1,"injection":"merged-softmax","leafRatio":1,"#
          + #""lowerModel":"shared","positionMode":"none","treeDepth":9}}"#).utf8)
    },
  ]

  static let tensors: [Surgery] = [
    Surgery(.malformedIndex, "entry size") { $0.entryByteCount = 88 },
    Surgery(.malformedIndex, "bytes behind the names") { $0.namesTail = [0x20] },
    Surgery(.malformedIndex, "a name's offset") { $0.entries[3].nameOffset = 0 },
    Surgery(.malformedIndex, "a long name") { $0.entries[3].name = String(repeating: "x", count: 257) },
    Surgery(.malformedIndex, "an empty name") { $0.entries[3].name = "" },
    Surgery(.truncated, "a tensor of 2^63 rows") { $0.entries[0].rows = 1 << 63 },
    Surgery(.unknownEncoding, "encoding 5") { $0.entries[0].encoding = 5 },
    Surgery(.unknownEncoding, "float32 with groups") { $0.entries[0].groupSize = 4 },
    Surgery(.unknownEncoding, "int8 without groups") { $0.entries[0].encoding = 3 },
    Surgery(.unknownEncoding, "int4 without groups") { $0.entries[0].encoding = 4 },
    Surgery(.wrongSize, "int4 with odd groups") {
      $0.entries[0].encoding = 4
      $0.entries[0].groupSize = 12
    },
    Surgery(.wrongSize, "int8 with odd groups") {
      $0.entries[0].encoding = 3
      $0.entries[0].groupSize = 6
    },
    Surgery(.wrongSize, "a byte more") { $0.entries[0].byteCount += 1 },
    Surgery(.wrongSize, "a product that overflows to the right one") {
      $0.entries[0].rows = 1 << 62
      $0.entries[0].columns = 4
      $0.entries[0].byteCount = 0
    },
    Surgery(.wrongSize, "no rows") {
      $0.entries[0].rows = 0
      $0.entries[0].byteCount = 0
    },
    Surgery(.duplicateTensor, "a name twice") { $0.entries[3].name = $0.entries[2].name },
    Surgery(.missingTensor, "biases that are not there") {
      $0.replaceInMetadata(#"{"beginOf"#, #"{"attentionInputBias":true,"beginOf"#)
    },
    Surgery(.missingTensor, "another name") { $0.entries[3].name = "model.layers.0.self_attn.k_proj.bias" },
    Surgery(.unexpectedTensor, "one more") {
      var extra = $0.entries[10]
      $0.data += [UInt8](repeating: 0, count: 56)
      extra.byteOffset = UInt64($0.data.count)
      $0.data += $0.data[640..<648]
      extra.name = "model.extra.weight"
      $0.entries.append(extra)
    },
    Surgery(.misplacedTensor, "order of names") {
      let name = $0.entries[2].name
      $0.entries[2].name = $0.entries[3].name
      $0.entries[3].name = name
    },
    Surgery(.misplacedTensor, "misaligned") { $0.entries[1].byteOffset += 4 },
    Surgery(.misplacedTensor, "overlapping") { $0.entries[2].byteOffset = $0.entries[1].byteOffset },
    Surgery(.misplacedTensor, "a hole") { $0.entries[2].byteOffset += 64 },
    Surgery(.misplacedTensor, "before the data") { $0.entries[0].byteOffset &-= 4096 },
    Surgery(.misplacedTensor, "data behind the last") { $0.data += [0] },
    Surgery(.misplacedTensor, "beyond the data") { $0.data.removeLast() },
    Surgery(.wrongShape, "rows for columns") {
      $0.entries[1].rows = 2
      $0.entries[1].columns = 1
    },
    Surgery(.unknownEncoding, "the weights of a norm in float16") {
      $0.entries[10].encoding = 2
      $0.entries[10].byteCount = 4
      $0.data.removeLast(4)
    },
    Surgery(.nonzeroPadding, "between two tensors") { $0.data[20] = 1 },
    Surgery(.digestMismatch, "the data of a tensor") { $0.data[64] ^= 1 },
  ]

  @Test(arguments: header + metadata + tensors)
  func surgeryIsRefused(_ surgery: Surgery) throws {
    var raw = RawPack.example()
    surgery.edit(&raw)
    let refusal = try #require(try refusal(of: raw.assembled(), in: Scratch()))
    #expect(refusal.name == surgery.name, "\(refusal)")
    #expect(!refusal.description.contains("\n"))
  }

  @Test func filesThatAreNoPacks() throws {
    let scratch = try Scratch()
    #expect(try refusal(of: [], in: scratch)?.name == .notAPack)
    #expect(try refusal(of: Array("GGUF and so on".utf8), in: scratch)?.name == .notAPack)
    #expect(throws: Refusal.self) { try ModelPack(opening: "\(scratch.path)/none.spk") }
  }

  @Test func newerMinorVersionAndOptionalFeaturesAreRead() throws {
    var raw = RawPack.example()
    raw.minorVersion = 9
    raw.optionalFeatures = .max
    raw.replaceInMetadata(#""provenance""#, #""novelty":[true],"provenance""#)
    #expect(try refusal(of: raw.assembled(), in: Scratch()) == nil)
  }

  /// Sections of later versions, up to the most that there may be: the pack is read without them, and every bit of them
  /// is under a digest all the same.
  @Test(arguments: [1, 11]) func optionalSectionsAreSkipped(count: Int) throws {
    let scratch = try Scratch()
    var raw = RawPack.example()
    let extra = (0..<count).map {
      RawPack.Section(kind: UInt32(6 + $0 * $0), flags: 1, bytes: [UInt8](repeating: 7, count: 1 + $0 * 500))
    }
    raw.editSections = { $0 += extra }
    var bytes = raw.assembled()
    let path = try scratch.write(bytes)
    let pack = try ModelPack(opening: path)
    try pack.verify()
    let plain = try ModelPack(opening: scratch.write(RawPack.example().assembled(), to: "plain.spk"))
    #expect(pack.tensors.map(\.digest) == plain.tensors.map(\.digest) && pack.metadata == plain.metadata)
    #expect(pack.tokenizer == plain.tokenizer && pack.chatTemplate == plain.chatTemplate)
    #expect(pack.identity != plain.identity)
    let first = raw.assembled().count - extra.reduce(0) { max($0, $1.bytes.count) }
    for bit in 0..<8 {
      bytes[first] ^= 1 << bit
      let found = try refusal(of: bytes, in: scratch)
      #expect(found?.name == .digestMismatch && found?.structure.hasPrefix("section ") == true)
      bytes[first] ^= 1 << bit
    }
    let cut = try refusal(of: Array(bytes.dropLast()), in: scratch)
    #expect(cut?.name == .wrongLength)
  }

  /// A section that is needed and unknown is named.
  @Test func neededSectionsAreNamed() throws {
    var raw = RawPack.example()
    raw.editSections = { $0.append(.init(kind: 4711, bytes: [1])) }
    let found = try #require(try refusal(of: raw.assembled(), in: Scratch()))
    #expect(found.name == .unknownSection && found.description.contains("section 4711"))
  }

  /// Truncation and extension at every length.
  @Test func everyOtherLengthIsRefused() throws {
    let scratch = try Scratch()
    let bytes = RawPack.example().assembled()
    for count in stride(from: 0, to: bytes.count, by: 97) {
      #expect(try refusal(of: Array(bytes[..<count]), in: scratch) != nil, "\(count)")
    }
    for count in 1...64 {
      #expect(try refusal(of: bytes + [UInt8](repeating: 0, count: count), in: scratch)?.name == .wrongLength)
    }
  }

  /// Reliability: no flipped bit goes unnoticed.
  @Test func everyFlippedBitIsCaught() throws {
    let scratch = try Scratch()
    let raw = RawPack.example()
    var bytes = raw.assembled()
    let path = try scratch.write(bytes)
    var file = try OverwrittenFile(path)
    // Every bit of every structure, and some of the padding behind each.
    let sizes = [416, raw.metadata.count, raw.index.count, 6, 14, raw.data.count]
    for offset in bytes.indices where offset % 4096 < sizes[offset / 4096] || offset % 4 == 0 {
      let bits = offset % 4096 < sizes[offset / 4096] ? Array(0..<8) : [offset / 4 % 8]
      for bit in bits {
        bytes[offset] ^= 1 << bit
        try file.overwrite(bytes[offset], at: offset)
        let caught = (try? ModelPack(opening: path).verify()) == nil
        #expect(caught, "byte \(offset), bit \(bit)")
        bytes[offset] ^= 1 << bit
      }
      try file.overwrite(bytes[offset], at: offset)
    }
    try ModelPack(opening: path).verify()
  }
}
