import CanonicalJSON
import ContextTrees
import EvaluationTasks
import FileAccess
import ModelPacks
import NodeBlocks
import Testing

@testable import Evaluation

@Suite struct SweepConfigurationTests {
  private func parse(_ text: String) throws -> SweepConfiguration {
    try SweepConfiguration(try JSONValue(parsing: Array(text.utf8)), file: "sweep.json")
  }

  @Test func values() throws {
    let sweep = try parse(
      """
      {"model": "m.spk", "texts": ["a", "b"], "windows": 4, "kv": "f16", "policy": "cosine", "overlap": true,
       "tasks": ["key-value"], "samples": 3,
       "factors": {"depth": [2], "kv": []}}
      """)
    #expect(sweep.options.windows == [4] && sweep.options.encodings == [.float16] && sweep.options.overlaps)
    #expect(sweep.options.searches == [TreeSearch(.cosine)] && sweep.options.methods == [.shared])
    #expect(sweep.tasks == [.keyValue] && sweep.sampleCount == 3)
    #expect(sweep.factors == [.depth: [.integer(2)], .rows: []])
  }

  @Test(arguments: [
    ("[]", "sweep.json: is not an object [malformed-sweep]"),
    (#"{"model": "m", "texts": ["a"], "depht": 1}"#, "sweep.json: depht: is not known [malformed-sweep]"),
    (#"{"texts": ["a"]}"#, "sweep.json: model: is missing or not a path [malformed-sweep]"),
    (#"{"model": "m", "texts": []}"#, "sweep.json: texts: is missing or not a list of paths [malformed-sweep]"),
    (
      #"{"model": "m", "texts": ["a"], "windows": 0}"#,
      "sweep.json: windows: is not a number above 0 [malformed-sweep]"
    ),
    (
      #"{"model": "m", "texts": ["a"], "tasks": ["sleep"]}"#,
      "sweep.json: tasks: are passkey, needle, multi-needle, key-value, repeat-context, second-question, "
        + "repeated-context, boundary [malformed-sweep]"
    ),
    (#"{"model": "m", "texts": ["a"], "kv": "int3"}"#, "sweep.json: kv: is not a row encoding [malformed-sweep]"),
    (
      #"{"model": "m", "texts": ["a"], "factors": {"height": []}}"#,
      "sweep.json: factors, height: is not a factor [malformed-sweep]"
    ),
    (
      #"{"model": "m", "texts": ["a"], "factors": ["depth"]}"#,
      "sweep.json: factors: is not an object [malformed-sweep]"
    ),
    (
      #"{"model": "m", "texts": ["a"], "checkpoints": {"injection": ["top.spk"]}}"#,
      "sweep.json: checkpoints, injection: is not an object of paths [malformed-sweep]"
    ),
  ])
  func refused(text: String, message: String) throws {
    let refusal = #expect(throws: Refusal.self) { try parse(text) }
    #expect(refusal?.description == message)
  }

  /// Another depth keeps the rows of a node.
  @Test func depthKeepsRows() throws {
    let base = SweepVariant(
      sharedLLM: SharedLLMConfiguration(
        injectedLayerCount: 2, chunkSize: 256, treeDepth: 3, leafRatio: 4, positionMode: .local,
        injection: .crossAttention, lowerModel: .shared),
      search: TreeSearch(.right), encoding: .int8, runningText: 512)
    for (depth, ratio) in [(1, 16), (2, 8), (3, 4), (4, 2), (5, 1)] {
      let variant = try #require(base.changing(.depth, to: .integer(depth)))
      let shared = variant.sharedLLM
      #expect(shared.treeDepth == depth && shared.leafRatio == ratio)
      let shape = try #require(TreeShape(chunkSize: 256, depth: depth, leafRatio: ratio))
      let nodes = ContextTree(shape: shape, tokenCount: 256).preservedNodes(policy: .right, chunk: 0) { _ in 0 }
      #expect(nodes.allSatisfy { $0.rowCount == 8 } && nodes.count == depth + 1)
    }
    #expect(base.changing(.policy, to: .string("up")) == nil)
    #expect(base.changing(.similarity, to: .string("dot"))?.search == TreeSearch(.dot))
    #expect(base.changing(.similarity, to: .string("right")) == nil)
    #expect(base.changing(.similarity, to: .string("cosine")) == base.changing(.policy, to: .string("cosine")))
    #expect(base.changing(.expansion, to: .string("both:2")) == nil && base.changing(.levels, to: .string("up")) == nil)
    #expect(base.changing(.levels, to: .string("geometric")) == base)
    #expect(base.changing(.chunkSize, to: .integer(0)) == nil)
  }
}
