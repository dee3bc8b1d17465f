"""One process, several that each have a copy of the model (`replicate`), or several that share it (`fsdp`)."""
import os
import shutil

import torch
import torch.distributed as dist

import files


class Ranks:
    def __init__(self):
        self.rank, self.size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        self.fsdp = False
        self.device = torch.device("cpu")

    def is_fsdp(self, config):
        return config.get("parallel", "replicate") == "fsdp" and self.size > 1

    def start(self, config):
        wanted = config.get("device", "auto")
        if wanted == "cuda" or wanted == "auto" and torch.cuda.is_available():
            torch.cuda.set_device(self.local)
            self.device = torch.device("cuda", self.local)
        if self.size > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        self.fsdp = self.is_fsdp(config)

    def stop(self):
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def device_name(self):
        return torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"

    def wait(self):
        if self.size > 1:
            dist.barrier()

    def place(self, model, config):
        """Puts the model on its device. Returns it and its trained parameters by name."""
        if not self.fsdp:
            model = model.to(self.device)
        else:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
            # Rotary tables are arguments of a layer and must stay in float32.
            precision = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16 if config.get("precision") == "bfloat16" else None,
                reduce_dtype=torch.float32, cast_forward_inputs=False)
            state = model.state_dict() if self.rank == 0 else {}
            flags = {n: p.requires_grad for n, p in model.named_parameters()}
            model = model.to("meta")
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(flags[name])
            mesh = init_device_mesh(self.device.type, (self.size,))
            lower = list(model.encoder.layers) if model.has_own_lower else []
            for layer in [*lower, *model.model.layers]:
                fully_shard(layer, mesh=mesh, mp_policy=precision)
            fully_shard(model, mesh=mesh, mp_policy=precision)
            model.to_empty(device=self.device)
            set_model_state_dict(model, state, options=StateDictOptions(
                full_state_dict=True, broadcast_from_rank0=True, strict=True))
        return model, {n: p for n, p in model.named_parameters() if p.requires_grad}

    def average_gradients(self, parameters):
        """The mean of all copies' gradients; with shards, the backward pass averages them."""
        if self.size == 1 or self.fsdp:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at:at + gradient.numel()].view_as(gradient))
            at += gradient.numel()

    def clip(self, parameters, limit):
        norm = torch.nn.utils.clip_grad_norm_(list(parameters), limit or float("inf"))
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def average(self, tensor):
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def agree(self, seconds, *flags):
        """Rank 0's clock, and flags that are set if any rank set them, on all ranks."""
        if self.size == 1:
            return seconds, *flags
        values = torch.tensor([seconds if self.rank == 0 else 0.0, *map(float, flags)], dtype=torch.double,
                              device=self.device)
        dist.all_reduce(values)
        seconds, *flags = values.tolist()
        return seconds, *(f > 0 for f in flags)

    def full_state(self, model):
        """All weights, in the main memory of rank 0."""
        if not self.fsdp:
            return {n: t.cpu() for n, t in model.state_dict().items()}
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
        return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    # Checkpoints: one file, or for shards a folder of files. Either appears complete or not at all.

    def save(self, path, model, optimizer, meta):
        if not self.fsdp:
            if self.rank == 0:
                values = dict(meta=meta, model=model.state_dict(), optimizer=optimizer.state_dict())
                files.publish(path + ".pt", lambda file: torch.save(values, file))
            self.wait()
            return
        import torch.distributed.checkpoint as dcp
        from torch.distributed.checkpoint.state_dict import get_state_dict
        state, optimizer_state = get_state_dict(model, optimizer)
        folder = f"{path}-{meta['step']}"
        if self.rank == 0 and os.path.exists(folder):
            shutil.rmtree(folder)
        self.wait()
        dcp.save(dict(model=state, optimizer=optimizer_state), checkpoint_id=folder)
        self.wait()
        if self.rank == 0:
            files.sync_directory(folder)
            old = files.read_json(path + ".json")["folder"] if os.path.exists(path + ".json") else None
            files.write_json(path + ".json", dict(meta, folder=os.path.basename(folder)))
            if old and old != os.path.basename(folder):
                shutil.rmtree(os.path.join(os.path.dirname(path), old), ignore_errors=True)
        self.wait()

    def load(self, path, model, optimizer):
        """Fills model and optimizer. Returns what was saved with them, or nothing."""
        if not self.fsdp:
            if not os.path.exists(path + ".pt"):
                return None
            values = torch.load(path + ".pt", map_location="cpu", weights_only=True)
            model.load_state_dict(values["model"])
            optimizer.load_state_dict(values["optimizer"])
            return values["meta"]
        if not os.path.exists(path + ".json"):
            return None
        import torch.distributed.checkpoint as dcp
        from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
        meta = files.read_json(path + ".json")
        state, optimizer_state = get_state_dict(model, optimizer)
        values = dict(model=state, optimizer=optimizer_state)
        dcp.load(values, checkpoint_id=os.path.join(os.path.dirname(path), meta["folder"]))
        set_state_dict(model, optimizer, model_state_dict=values["model"], optim_state_dict=values["optimizer"])
        return meta
