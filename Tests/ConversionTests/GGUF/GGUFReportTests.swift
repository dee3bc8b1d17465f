import Conversion
import FileAccess
import ModelPacks
import Testing

/// What is said of a GGUF file before it is converted.
@Suite struct GGUFReportTests {
  @Test func convertible() throws {
    let scratch = try Scratch()
    let path = "\(scratch.path)/model.gguf"
    var file = TestGGUF(TestCheckpoint())
    file["general.license"] = .string("mit")
    try file.write(to: path)
    #expect(CheckpointReport.recognizes(path) && CheckpointReport.recognizes(scratch.path))
    let report = try CheckpointReport(of: path)
    #expect(report.layout == .gguf && report.obstacles.isEmpty && report.licence == "mit")
    #expect(report.plan?.packByteCount == (try Converter(directory: path)).plan.packByteCount)
    #expect(report.configuration == TestCheckpoint.llama)
    let tensors = file.tensors.map { $0.shape.reduce(1, *) }
    #expect(report.parameterCount == tensors.reduce(0, +))
    #expect(try CheckpointReport(of: scratch.path).plan?.packByteCount == report.plan?.packByteCount)
  }

  @Test func obstacles() throws {
    let scratch = try Scratch()
    let path = "\(scratch.path)/model.gguf"
    var file = TestGGUF(TestCheckpoint())
    file.tensors.removeAll { $0.name == "blk.0.attn_q.weight" }
    try file.write(to: path)
    var report = try CheckpointReport(of: path)
    #expect(report.plan == nil && report.obstacles.map(\.name) == [.missingTensor])
    // What can be read is said all the same.
    #expect(report.configuration == TestCheckpoint.llama && !report.weights.isEmpty)
    try TestCheckpoint.write(Array("GGUF".utf8), to: path)
    #expect(CheckpointReport.recognizes(path))
    report = try CheckpointReport(of: path)
    #expect(report.plan == nil && report.obstacles.count == 1)
    try TestCheckpoint.write(Array("GGU".utf8), to: path)
    #expect(!CheckpointReport.recognizes(path))
  }
}
